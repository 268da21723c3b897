// Kernels that show in which order things happen on the emulated device.
#include "ptx.cuh"

// Any grid, 64 threads: the order in which threads come, by tickets.  count (1) -> out (blocks, 64)
extern "C" __global__ void tickets(unsigned* count, unsigned* out) {
  out[blockIdx.x * 64 + threadIdx.x] = atomicAdd(count, 1u);
}
EXPORT_KERNEL(tickets)

// 32 threads: what shared memory holds while a copy is under way, and after the wait.  in (32) -> out (2, 32)
extern "C" __global__ void look_early(const float* in, float* out) {
  __shared__ float values[32];
  const int i = threadIdx.x;
  cp_async_4(smem_u32(values + i), in + i);
  cp_async_commit();
  out[i] = values[i];
  cp_async_wait<0>();
  out[32 + i] = values[i];
}
EXPORT_KERNEL(look_early)

// 32 threads per block, more blocks than run at once: each has its own static shared memory although all are resident,
// because each waits for the next.  out (blocks, 32)
extern "C" __global__ void own_static(unsigned* flags, unsigned* out) {
  __shared__ unsigned mine[32];
  const unsigned i = threadIdx.x, block = blockIdx.x;
  mine[i] = block * 100 + i;
  __syncthreads();
  if (i == 0 && block + 1 < gridDim.x) {
    while (ld_acquire_gpu(flags + block + 1) == 0) nanosleep(100);
  }
  __syncthreads();
  out[block * 32 + i] = mine[31 - i];
  if (i == 0) st_release_gpu(flags + block, 1);
}
EXPORT_KERNEL(own_static)

// 1024 threads with a stack of their own each: what a thread keeps over a barrier.  in (1024) -> out (1024)
extern "C" __global__ void keep(const float* in, float* out) {
  float kept[64];
  for (int i = 0; i < 64; i++) kept[i] = in[(threadIdx.x + i) % 1024];
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < 64; i++) sum += kept[i];
  out[threadIdx.x] = sum;
}
EXPORT_KERNEL(keep)

#if WEFT_ARCH >= 900
// Any launch: where each thread is.  out (blocks, threads, 8)
extern "C" __global__ void where_am_i(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  unsigned* at = out + (block * blockDim.x * blockDim.y * blockDim.z + thread) * 8;
  at[0] = blockIdx.x, at[1] = blockIdx.y, at[2] = blockIdx.z;
  at[3] = threadIdx.x, at[4] = threadIdx.y, at[5] = threadIdx.z;
  at[6] = cluster_rank(), at[7] = cluster_size();
}
EXPORT_KERNEL(where_am_i)
#endif
