// cp.async, ldmatrix and stmatrix of one warp.
#include "ptx.cuh"

#if WEFT_ARCH >= 800
// Every lane copies 4, 8 and 16 bytes, lanes divisible by 3 none: shared memory as it is afterwards goes out.
extern "C" __global__ void probe_cp_async(const unsigned char* in, unsigned* out) {
  DYNAMIC_SHARED(unsigned, shared, 16);
  const unsigned lane = threadIdx.x, base = smem_u32(shared);
  for (int i = 0; i < 7; i++) shared[lane * 7 + i] = 0xdeadbeef;
  __syncwarp();
  const bool copies = lane % 3 != 0;
  cp_async_4(base + lane * 4, in + lane * 4, copies);
  cp_async_commit();
  cp_async_8(base + 128 + lane * 8, in + 128 + lane * 8, copies);
  cp_async_commit();
  cp_async_16(base + 384 + lane * 16, in + 384 + lane * 16, copies);
  cp_async_commit();
  cp_async_wait<1>();  // the first two
  for (int i = 0; i < 3; i++) {
    const unsigned word = i ? 32 + lane * 2 + i - 1 : lane;
    out[word] = shared[word];
  }
  cp_async_wait<0>();
  for (int i = 0; i < 4; i++) out[96 + lane * 4 + i] = shared[96 + lane * 4 + i];
}
EXPORT_KERNEL(probe_cp_async)
#endif

// in: four 8x8 matrices of 16-bit elements; out: 14 registers per lane: x1, x2, x4, and the same transposed.
extern "C" __global__ void probe_ldmatrix(const unsigned* in, unsigned* out) {
  DYNAMIC_SHARED(unsigned, shared, 16);
  const unsigned lane = threadIdx.x;
  for (int i = 0; i < 4; i++) shared[lane * 4 + i] = in[lane * 4 + i];
  __syncwarp();
  const unsigned row = smem_u32(shared) + lane * 16;
  unsigned one[1], two[2], four[4];
  unsigned* to = out + lane * 14;
  ldmatrix_x1(one, row);
  ldmatrix_x2(two, row);
  ldmatrix_x4(four, row);
  to[0] = one[0];
  for (int i = 0; i < 2; i++) to[1 + i] = two[i];
  for (int i = 0; i < 4; i++) to[3 + i] = four[i];
  ldmatrix_x1_trans(one, row);
  ldmatrix_x2_trans(two, row);
  ldmatrix_x4_trans(four, row);
  to[7] = one[0];
  for (int i = 0; i < 2; i++) to[8 + i] = two[i];
  for (int i = 0; i < 4; i++) to[10 + i] = four[i];
}
EXPORT_KERNEL(probe_ldmatrix)

#if WEFT_ARCH >= 900
// in: 4 registers per lane; out: 14 matrices of 128 bytes as they lie in shared memory.
extern "C" __global__ void probe_stmatrix(const unsigned* in, unsigned* out) {
  DYNAMIC_SHARED(unsigned, shared, 16);
  const unsigned lane = threadIdx.x, base = smem_u32(shared), row = lane * 16;
  const unsigned one[1] = {in[lane * 4]}, two[2] = {in[lane * 4], in[lane * 4 + 1]};
  const unsigned four[4] = {in[lane * 4], in[lane * 4 + 1], in[lane * 4 + 2], in[lane * 4 + 3]};
  stmatrix_x1(base + row % 128, one);
  stmatrix_x2(base + 128 + row % 256, two);
  stmatrix_x4(base + 384 + row, four);
  stmatrix_x1_trans(base + 896 + row % 128, one);
  stmatrix_x2_trans(base + 1024 + row % 256, two);
  stmatrix_x4_trans(base + 1280 + row, four);
  __syncwarp();
  for (int i = 0; i < 14; i++) out[i * 32 + lane] = shared[i * 32 + lane];
}
EXPORT_KERNEL(probe_stmatrix)
#endif
