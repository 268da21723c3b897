// Bugs of asynchronous copies by threads: cp.async and ldmatrix in a pipeline of STAGES stages.
#include "ptx.cuh"

constexpr int STAGES = 3, SLICE = 64;  // a stage is 64 rows of 8 elements of 16 bits

// 64 threads: the sum over slices of what two warps read by ldmatrix.  in (slices, 64, 8) u16 -> out (64) u32
extern "C" __global__ void add_slices(const unsigned short* in, unsigned* out, int slices) {
  __shared__ alignas(128) unsigned short stages[STAGES][SLICE][8];
  const int i = threadIdx.x;
  const auto start = [&](int slice) {
#ifdef MISALIGNED_COPY
    const unsigned to = smem_u32(&stages[slice % STAGES][i][1]);
#else
    const unsigned to = smem_u32(&stages[slice % STAGES][i][0]);
#endif
    // reported: MISALIGNED_COPY
    if (slice < slices) cp_async_16(to, in + (slice * SLICE + i) * 8);
    cp_async_commit();
  };
  for (int slice = 0; slice < STAGES - 1; slice++) start(slice);
  unsigned sum = 0;
  for (int slice = 0; slice < slices; slice++) {
#ifdef MISSING_COPY_WAIT
    cp_async_wait<STAGES - 1>();
#else
    cp_async_wait<STAGES - 2>();
#endif
#ifndef MISSING_STAGE_SYNC
    __syncthreads();
#endif
    start(slice + STAGES - 1);
    unsigned r[4];
    const int row = (i / 32 ^ 1) * 32 + i % 32;  // of the other warp
    // reported: MISSING_COPY_WAIT MISSING_STAGE_SYNC
    ldmatrix_x4(r, smem_u32(&stages[slice % STAGES][row][0]));
    sum += r[0] + r[1] + r[2] + r[3];
  }
  out[i] = sum;
}
EXPORT_KERNEL(add_slices)
