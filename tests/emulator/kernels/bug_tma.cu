// Bugs of TMA, mbarriers and wgmma: a producer warp and consumers.
#include "ptx.cuh"

constexpr int STAGES = 2, ROWS = 64, COLUMNS = 64, BYTES = ROWS * COLUMNS * 2;

// 64 threads: warp 0 loads slices of 64 x 64 u16 by TMA, warp 1 adds them up and stores the sum by TMA.
extern "C" __global__ void add_boxes(const __grid_constant__ TensorMap in, const __grid_constant__ TensorMap out,
                                     int slices) {
  DYNAMIC_SHARED(unsigned char, shared, 1024);
  unsigned* stages = reinterpret_cast<unsigned*>(shared);
  unsigned* sum = stages + STAGES * BYTES / 4;
  __shared__ alignas(8) unsigned long long barriers[2 * STAGES];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const unsigned full = smem_u32(barriers), empty = smem_u32(barriers + STAGES);
#ifndef UNINITIALISED_BARRIER
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < STAGES; stage++) {
      mbarrier_init(full + 8 * stage, 1);
#ifdef WRONG_COUNT
      mbarrier_init(empty + 8 * stage, 16);
#else
      mbarrier_init(empty + 8 * stage, 32);
#endif
    }
    fence_mbarrier_init();
  }
#endif
#ifndef MISSING_INIT_SYNC
  __syncthreads();
#endif
  if (warp == 0) {
    for (int slice = 0; slice < slices; slice++) {
      const int stage = slice % STAGES, round = slice / STAGES;
      if (lane == 0) {
#ifndef MISSING_EMPTY_WAIT
        // reported: MISSING_INIT_SYNC UNINITIALISED_BARRIER WRONG_COUNT EXPECTS_TOO_MUCH EXPECTS_TOO_LITTLE
        mbarrier_wait(empty + 8 * stage, (round & 1) ^ 1);
#endif
#ifdef EXPECTS_TOO_MUCH
        mbarrier_arrive_expect_tx(full + 8 * stage, BYTES + 128);
#elif defined(EXPECTS_TOO_LITTLE)
        mbarrier_arrive_expect_tx(full + 8 * stage, BYTES - 128);
#else
        // reported: MISSING_EMPTY_WAIT
        mbarrier_arrive_expect_tx(full + 8 * stage, BYTES);
#endif
#ifdef MISALIGNED_BOX
        const unsigned to = smem_u32(shared) + stage * BYTES + 64;
#else
        const unsigned to = smem_u32(shared) + stage * BYTES;
#endif
        // reported: MISALIGNED_BOX MISSING_EMPTY_WAIT EARLY_RELEASE
        tma_load_2d(to, &in, full + 8 * stage, 0, slice * ROWS);
      }
    }
  } else {
    for (int i = lane; i < BYTES / 4; i += 32) sum[i] = 0;
    for (int slice = 0; slice < slices; slice++) {
      const int stage = slice % STAGES, round = slice / STAGES;
#ifdef WRONG_PARITY
      mbarrier_wait(full + 8 * stage, 1 ^ (round & 1));
#elif !defined(MISSING_FULL_WAIT)
      // reported: EXPECTS_TOO_MUCH EXPECTS_TOO_LITTLE UNINITIALISED_BARRIER MISSING_INIT_SYNC WRONG_COUNT
      mbarrier_wait(full + 8 * stage, round & 1);
#endif
#ifdef EARLY_RELEASE
      mbarrier_arrive(empty + 8 * stage);
#endif
      for (int i = lane; i < BYTES / 4; i += 32) {
        // reported: MISSING_FULL_WAIT WRONG_PARITY
        sum[i] += stages[stage * BYTES / 4 + i];
      }
#ifndef EARLY_RELEASE
      // reported: WRONG_COUNT
      mbarrier_arrive(empty + 8 * stage);
#endif
    }
#ifndef MISSING_PROXY_FENCE
    fence_proxy_async();
#endif
#ifndef MISSING_STORE_SYNC
    __syncwarp();
#endif
    if (lane == 0) {
      // reported: MISSING_PROXY_FENCE MISSING_STORE_SYNC MISSING_STORE_WAIT
      tma_store_2d(&out, smem_u32(sum), 0, 0);
      bulk_commit();
#ifndef MISSING_STORE_WAIT
      bulk_wait<0>();
#endif
    }
  }
}
EXPORT_KERNEL(add_boxes)

// 160 threads, a warpgroup that multiplies and a warp that loads: D (64 x 64) += A (64 x 64) B (64 x 64)^T per slice.
extern "C" __global__ void multiply_boxes(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                                          float* d, int slices) {
  DYNAMIC_SHARED(unsigned char, shared, 1024);
  __shared__ alignas(8) unsigned long long barriers[2 * STAGES];
  const unsigned full = smem_u32(barriers), empty = smem_u32(barriers + STAGES), base = smem_u32(shared);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < STAGES; stage++) {
      mbarrier_init(full + 8 * stage, 1);
      mbarrier_init(empty + 8 * stage, 4);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x >= 128) {
    for (int slice = 0; slice < slices && threadIdx.x == 128; slice++) {
      const int stage = slice % STAGES;
      mbarrier_wait(empty + 8 * stage, (slice / STAGES & 1) ^ 1);
      mbarrier_arrive_expect_tx(full + 8 * stage, 2 * BYTES);
      // reported: RELEASED_BEFORE_PRODUCT
      tma_load_2d(base + stage * 2 * BYTES, &a, full + 8 * stage, slice * 64, 0);
      tma_load_2d(base + stage * 2 * BYTES + BYTES, &b, full + 8 * stage, slice * 64, 0);
    }
    return;
  }
  float sums[32] = {};
  for (int slice = 0; slice < slices; slice++) {
    const int stage = slice % STAGES;
    mbarrier_wait(full + 8 * stage, slice / STAGES & 1);
#ifndef MISSING_PRODUCT_FENCE
    wgmma_fence();
#endif
    for (int k = 0; k < 4; k++) {
      const uint64_t left = smem_descriptor(base + stage * 2 * BYTES + 32 * k, 16, 1024, 128);
      const uint64_t right = smem_descriptor(base + stage * 2 * BYTES + BYTES + 32 * k, 16, 1024, 128);
      // reported: MISSING_PRODUCT_FENCE RELEASED_BEFORE_PRODUCT
      wgmma<64, bf16>(sums, left, right, 1);
    }
    wgmma_commit();
#ifdef RELEASED_BEFORE_PRODUCT
    if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + 8 * stage);
    wgmma_wait<0>();
#else
    wgmma_wait<0>();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + 8 * stage);
#endif
  }
#ifdef MISSING_PRODUCT_WAIT
  wgmma_fence();
  wgmma<64, bf16>(sums, smem_descriptor(base, 16, 1024, 128), smem_descriptor(base + BYTES, 16, 1024, 128), 1);
  wgmma_commit();
#endif
  const int warp = threadIdx.x / 32, row = 16 * warp + threadIdx.x % 32 / 4, column = 2 * (threadIdx.x % 4);
  for (int j = 0; j < 8; j++)
    for (int i = 0; i < 4; i++) d[(row + 8 * (i / 2)) * 64 + 8 * j + column + i % 2] = sums[4 * j + i];
}
EXPORT_KERNEL(multiply_boxes)
