// Bugs in global memory and between blocks.
#include "ptx.cuh"

// Any grid of 64 threads: out[i] = in[i] + in[i + 1].  in (n + 1) -> out (n)
extern "C" __global__ void add_next(const float* in, float* out, int n) {
  const int i = blockIdx.x * 64 + threadIdx.x;
#ifdef STORE_GUARD
  // reported: STORE_GUARD
  out[i] = in[i < n ? i : 0];
#elif defined(LOAD_GUARD)
  // reported: LOAD_GUARD
  const float next = in[i + 1];
  if (i < n || next == 12345.0f) out[i] = in[i] + next;
#elif defined(MISALIGNED_VECTOR)
  if (4 * i + 4 < n) {
    // reported: MISALIGNED_VECTOR
    const float4 x = *reinterpret_cast<const float4*>(in + 4 * i + 1);
    out[4 * i] = x.x + x.w;
  }
#elif defined(UNINITIALISED_GLOBAL)
  // reported: UNINITIALISED_GLOBAL
  if (i < n) out[i] += in[i];
#elif defined(BLOCKS_WRITE_THE_SAME)
  // reported: BLOCKS_WRITE_THE_SAME
  if (i < n) out[threadIdx.x] = in[i];
#elif defined(BLOCKS_IN_PLACE)
  float* inside = const_cast<float*>(in);
  // reported: BLOCKS_IN_PLACE
  if (i < n) inside[i] = in[i] + in[i + 1];
#else
  if (i < n) out[i] = in[i] + in[i + 1];
#endif
}
EXPORT_KERNEL(add_next)

// 64 threads per block. The last block to come sums what all have left.  in (blocks, 64) -> part (blocks), out (1)
extern "C" __global__ void last_block_sums(const float* in, float* part, unsigned* count, float* out) {
  __shared__ float sums[64];
  __shared__ bool last;
  const int i = threadIdx.x;
  sums[i] = in[blockIdx.x * 64 + i];
  __syncthreads();
  if (i == 0) {
    float sum = 0;
    for (int j = 0; j < 64; j++) sum += sums[j];
#ifdef FENCE_AFTER
    __threadfence();
    part[blockIdx.x] = sum;
#else
    part[blockIdx.x] = sum;
#ifndef MISSING_FENCE
    __threadfence();
#endif
#endif
    last = atomicAdd(count, 1u) == gridDim.x - 1;
#ifndef MISSING_SECOND_FENCE
    __threadfence();
#endif
  }
  __syncthreads();
  if (last && i == 0) {
    float sum = 0;
    for (int j = 0; j < int(gridDim.x); j++) {
      // reported: MISSING_FENCE MISSING_SECOND_FENCE FENCE_AFTER
      sum += part[j];
    }
    out[0] = sum;
  }
}
EXPORT_KERNEL(last_block_sums)

// 64 threads per block: every block waits for the one before it, and adds.  in (blocks, 64) -> out (blocks, 64)
extern "C" __global__ void chain(const float* in, float* out, unsigned* flags) {
  const int i = threadIdx.x, block = blockIdx.x;
  float value = in[block * 64 + i];
  if (block > 0) {
    if (i == 0) {
#ifdef RELAXED_FLAG
      while (*reinterpret_cast<volatile unsigned*>(flags + block - 1) == 0) nanosleep(20);
#elif defined(WAITS_FOR_NOBODY)
      // reported: WAITS_FOR_NOBODY
      while (ld_acquire_gpu(flags + block) == 0) nanosleep(20);
#elif defined(WAITS_FOR_NEXT)
      if (block < int(gridDim.x) - 1) {
        // reported: WAITS_FOR_NEXT
        while (ld_acquire_gpu(flags + block + 1) == 0) nanosleep(20);
      }
#else
      while (ld_acquire_gpu(flags + block - 1) == 0) nanosleep(20);
#endif
    }
#ifndef FLAG_NOT_SPREAD
    __syncthreads();
#endif
#ifndef WAITS_FOR_NEXT
    // reported: RELAXED_FLAG PLAIN_FLAG FLAG_TOO_EARLY FLAG_NOT_SPREAD
    value += out[(block - 1) * 64 + i];
#endif
  }
#ifdef FLAG_TOO_EARLY
  if (i == 0) st_release_gpu(flags + block, 1);
  out[block * 64 + i] = value;
#else
  out[block * 64 + i] = value;
  __syncthreads();
#ifdef PLAIN_FLAG
  if (i == 0) *reinterpret_cast<volatile unsigned*>(flags + block) = 1;
#else
  if (i == 0) st_release_gpu(flags + block, 1);
#endif
#endif
}
EXPORT_KERNEL(chain)

// As chain, with flags that are volatile and fences around them.  in (blocks, 64) -> out (blocks, 64)
extern "C" __global__ void chain_with_fences(const float* in, float* out, volatile unsigned* flags) {
  const int i = threadIdx.x, block = blockIdx.x;
  float value = in[block * 64 + i];
  if (block > 0) {
    if (i == 0) {
      while (flags[block - 1] == 0) nanosleep(20);
      __threadfence();
    }
    __syncthreads();
    value += out[(block - 1) * 64 + i];
  }
  out[block * 64 + i] = value;
  __syncthreads();
  if (i == 0) {
    __threadfence();
    flags[block] = 1;
  }
}
EXPORT_KERNEL(chain_with_fences)

// 64 threads per block: all of a block poll together until the last block has come.  in (blocks, 64) -> out (blocks, 64)
extern "C" __global__ void poll_together(const float* in, float* out, unsigned* flags) {
  __shared__ unsigned seen;
  const int i = blockIdx.x * 64 + threadIdx.x;
#ifndef NOBODY_COMES
  if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) st_release_gpu(flags, 1);
#endif
  for (bool come = false; !come;) {
    // reported: NOBODY_COMES
    if (threadIdx.x == 0) seen = ld_acquire_gpu(flags);
    __syncthreads();
    come = seen != 0;
    __syncthreads();
  }
  out[i] = in[i];
}
EXPORT_KERNEL(poll_together)

// A cooperative launch of 64 threads per block: each block reads what the next one has written.
extern "C" __global__ void exchange(const float* in, float* middle, float* out) {
  const int i = blockIdx.x * 64 + threadIdx.x, n = gridDim.x * 64;
  middle[i] = in[i] * 2;
#ifdef EXITS_BEFORE_GRID_SYNC
  if (blockIdx.x == 1) return;
#endif
#ifndef MISSING_GRID_SYNC
  // reported: EXITS_BEFORE_GRID_SYNC NOT_COOPERATIVE
  grid_sync();
#endif
  // reported: MISSING_GRID_SYNC
  out[i] = middle[(i + 64) % n];
}
EXPORT_KERNEL(exchange)

// 64 threads per block, launched to overlap with the kernel that makes `in`.
extern "C" __global__ void dependent(const float* in, float* out) {
  const int i = blockIdx.x * 64 + threadIdx.x;
#ifndef MISSING_DEPENDENCY_WAIT
  grid_dependency_wait();
#endif
  // reported: MISSING_DEPENDENCY_WAIT
  out[i] = in[i] + 1;
}
EXPORT_KERNEL(dependent)
