// Bugs of clusters: distributed shared memory and multicast.
#include "ptx.cuh"

// Clusters of 32-thread blocks: each block reads what the next one of its cluster holds.  in (blocks, 32) -> out
extern "C" __global__ void pass_around(const float* in, float* out) {
  __shared__ float values[32];
  __shared__ float received[32];
  const int i = threadIdx.x;
  const unsigned rank = cluster_rank(), next = (rank + 1) % cluster_size();
  values[i] = in[blockIdx.x * 32 + i];
#ifndef MISSING_CLUSTER_SYNC
  cluster_sync();
#endif
#ifdef RANK_OUT_OF_RANGE
  // reported: RANK_OUT_OF_RANGE
  const unsigned other = map_shared_rank(smem_u32(values + i), rank + 1);
#else
  const unsigned other = map_shared_rank(smem_u32(values + i), next);
#endif
  // reported: MISSING_CLUSTER_SYNC EXITS_EARLY
  float x = ld_shared_cluster_f32(other);
#ifdef REMOTE_OUT_OF_BOUNDS
  // reported: REMOTE_OUT_OF_BOUNDS
  x = ld_shared_cluster_f32(map_shared_rank(smem_u32(values + i), next) + 4096);
#endif
  // reported: EXITS_EARLY
  st_shared_cluster_f32(map_shared_rank(smem_u32(received + i), next), x + 1);
#ifdef ARRIVES_TWICE
  cluster_arrive();
  // reported: ARRIVES_TWICE
  cluster_arrive();
#endif
#ifdef MISSING_SECOND_CLUSTER_SYNC
  __syncwarp();
#elif defined(RELAXED_CLUSTER_ARRIVE)
  cluster_arrive_relaxed();
  cluster_wait();
#elif !defined(EXITS_EARLY)
  cluster_sync();
#endif
#ifndef EXITS_EARLY
  // reported: MISSING_SECOND_CLUSTER_SYNC RELAXED_CLUSTER_ARRIVE
  out[blockIdx.x * 32 + i] = received[i];
#endif
}
EXPORT_KERNEL(pass_around)

constexpr int BYTES = 32 * 32 * 4;

// Clusters of two 32-thread blocks: each loads half of a box (16 of 32 rows) into both.  in (32, 32)
// -> out (blocks, 32, 32)
extern "C" __global__ void spread(const __grid_constant__ TensorMap in, float* out) {
  DYNAMIC_SHARED(float, box, 1024);
  __shared__ alignas(8) unsigned long long barrier;
  const unsigned rank = cluster_rank(), bar = smem_u32(&barrier), half = smem_u32(box) + rank * BYTES / 2;
  if (threadIdx.x == 0) {
    mbarrier_init(bar, 1);
    fence_mbarrier_init();
  }
#ifdef BARRIER_OF_PEER_NOT_READY
  __syncthreads();
#else
  cluster_sync();
#endif
  if (threadIdx.x == 0) {
#ifdef MULTICAST_EXPECTS_OWN_HALF
    mbarrier_arrive_expect_tx(bar, BYTES / 2);
#else
    mbarrier_arrive_expect_tx(bar, BYTES);
#endif
#ifdef MULTICAST_MASK_TOO_SMALL
    const unsigned short mask = 1u << rank;
#elif defined(MULTICAST_MASK_TOO_LARGE)
    const unsigned short mask = 7;
#else
    const unsigned short mask = 3;
#endif
    // reported: MULTICAST_MASK_TOO_LARGE BARRIER_OF_PEER_NOT_READY
    tma_load_multicast_2d(half, &in, bar, 0, rank * 16, mask);
  }
  // reported: MULTICAST_MASK_TOO_SMALL
  mbarrier_wait(bar, 0);
  for (int i = threadIdx.x; i < 32 * 32; i += 32) {
    // reported: MULTICAST_EXPECTS_OWN_HALF
    out[blockIdx.x * 32 * 32 + i] = box[i];
  }
  cluster_sync();
}
EXPORT_KERNEL(spread)
