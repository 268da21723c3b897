// Bugs within a block, each under its own define; without one the kernels are right. `reported:` stands before
// the line that a report must name.
#include "ptx.cuh"

// 128 threads. Each block sums 128 values by halves in shared memory.  in (blocks, 128) -> out (blocks)
extern "C" __global__ void block_sum(const float* in, float* out) {
  DYNAMIC_SHARED(float, sums, 16);
  const int i = threadIdx.x;
#ifdef UNINITIALISED_SHARED
  if (i != 77)
#endif
    // reported: SHARED_BOUNDS_STORE
    sums[i] = in[blockIdx.x * 128 + i];
#ifdef EARLY_EXIT
  if (i >= 64) return;
#endif
#ifdef DIVERGENT_SYNC
  if (i < 64) {
    __syncthreads();
  } else {
    // reported: DIVERGENT_SYNC
    __syncthreads();
  }
#else
  // reported: EARLY_EXIT
  __syncthreads();
#endif
  for (int half = 64; half > 0; half /= 2) {
    if (i < half) {
#ifdef SHARED_BOUNDS
      // reported: SHARED_BOUNDS
      sums[i] += sums[i + half + 65];
#else
      // reported: MISSING_SYNC MISSING_SYNCWARP UNINITIALISED_SHARED
      sums[i] += sums[i + half];
#endif
    }
#ifdef MISSING_SYNC
    if (half <= 32) __syncwarp();
#elif defined(MISSING_SYNCWARP)
    if (half > 16) __syncthreads();
#else
    __syncthreads();
#endif
  }
  if (i == 0) out[blockIdx.x] = sums[0];
}
EXPORT_KERNEL(block_sum)

// 64 threads, static shared memory: a tile is turned.  in (8, 8) -> out (8, 8)
extern "C" __global__ void turn(const float* in, float* out) {
  __shared__ float tile[8][9];
  __shared__ float unused[2];
  const int row = threadIdx.x / 8, column = threadIdx.x % 8;
  tile[row][column] = in[threadIdx.x];
#ifdef STATIC_UNINITIALISED
  // reported: STATIC_UNINITIALISED
  if (threadIdx.x == 0) out[0] = unused[1];
#endif
  if (threadIdx.x == 0) unused[0] = 1;
#ifndef STATIC_MISSING_SYNC
  __syncthreads();
#endif
#ifdef STATIC_BOUNDS
  int beyond = column + 2;
  asm("" : "+r"(beyond));
  // reported: STATIC_BOUNDS
  out[threadIdx.x] = tile[beyond][row];
#else
  // reported: STATIC_MISSING_SYNC
  out[threadIdx.x] = tile[column][row];
#endif
}
EXPORT_KERNEL(turn)

// 64 threads: sums of each warp by shuffles.  in (64) -> out (2)
extern "C" __global__ void warp_sum(const float* in, float* out) {
  float sum = in[threadIdx.x];
  const int lane = threadIdx.x % 32;
#ifdef SHUFFLE_EXITED
  if (lane >= 24) return;
#endif
#ifdef SHUFFLE_MASK
  // reported: SHUFFLE_MASK
  if (lane < 16) sum += __shfl_xor_sync(0x0000ffff, sum, 16);
#endif
#ifdef SHUFFLE_NOT_IN_MASK
  // reported: SHUFFLE_NOT_IN_MASK
  sum += __shfl_xor_sync(0x0000ffff, sum, 1);
#endif
#ifdef DIVERGENT_SHUFFLE
  if (lane < 16)
    sum += __shfl_xor_sync(~0u, sum, 16);
  else
    // reported: DIVERGENT_SHUFFLE
    sum += __shfl_xor_sync(~0u, sum, 16);
#else
  // reported: SHUFFLE_EXITED
  sum += __shfl_xor_sync(~0u, sum, 16);
#endif
  for (int lanes = 8; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
  if (lane == 0) out[threadIdx.x / 32] = sum;
}
EXPORT_KERNEL(warp_sum)

// 128 threads: warps hand values on through named barriers.  in (128) -> out (128)
extern "C" __global__ void hand_on(const float* in, float* out) {
  __shared__ float values[64];
  const int i = threadIdx.x;
  if (i < 64) {
    values[i] = in[i];
#ifdef BARRIER_COUNT
    bar_arrive(1, 96);
#elif !defined(BARRIER_MISSING)
    bar_arrive(1, 128);
#endif
    out[i] = in[i];
  } else {
    // reported: BARRIER_COUNT BARRIER_MISSING
    bar_sync(1, 128);
    out[i] = values[127 - i];
  }
}
EXPORT_KERNEL(hand_on)

// 32 threads: arithmetic that C++ leaves undefined.  in (32) ints -> out (32)
extern "C" __global__ void arithmetic(const int* in, int* out) {
  int values[4] = {1, 2, 3, 4};
  const int x = in[threadIdx.x];  // 0 to 31
#ifdef REGISTER_ARRAY
  // reported: REGISTER_ARRAY
  out[threadIdx.x] = values[x / 4];
#elif defined(INT_OVERFLOW)
  // reported: INT_OVERFLOW
  out[threadIdx.x] = x * 100000000;
#elif defined(SHIFT)
  // reported: SHIFT
  out[threadIdx.x] = 1 << (x + 8);
#elif defined(DIVISION)
  // reported: DIVISION
  out[threadIdx.x] = 100 / x;
#else
  out[threadIdx.x] = values[x / 8] * (100 / (x + 1)) << 1;
#endif
}
EXPORT_KERNEL(arithmetic)
