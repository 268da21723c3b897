// Clusters: ranks, each other's shared memory, remote arrivals.
#include "ptx.cuh"

#if WEFT_ARCH >= 900
// 32 threads per block: each block reads its right neighbour's values in every width, and writes into its left one's.
extern "C" __global__ void probe_cluster(const float* in, float* out) {
  __shared__ alignas(16) float given[32];
  __shared__ alignas(16) float got[32 * 10];
  __shared__ alignas(8) unsigned long long arrived;
  const unsigned rank = cluster_rank(), size = cluster_size(), lane = threadIdx.x;
  const unsigned right = (rank + 1) % size, left = (rank + size - 1) % size;
  cluster_arrive_relaxed();
  given[lane] = in[blockIdx.x * 32 + lane];
  cluster_wait();
  if (lane == 0) {
    mbarrier_init(smem_u32(&arrived), 32);
    fence_mbarrier_init();
  }
  cluster_sync();

  float* to = out + blockIdx.x * 32 * 12;
  const unsigned from = map_shared_rank(smem_u32(given), right);
  to[lane] = ld_shared_cluster_f32(from + lane * 4);
  reinterpret_cast<unsigned*>(to)[32 + lane] = ld_shared_cluster_u32(from + lane * 4);
  const double two = ld_shared_cluster_f64(from + lane / 2 * 8);
  if (lane % 2 == 0) reinterpret_cast<double*>(to)[32 + lane / 2] = two;
  float four[4];
  ld_shared_cluster_f32x4(four, from + lane / 4 * 16);
  to[96 + lane] = four[lane % 4];

  const unsigned there = map_shared_rank(smem_u32(got), left);
  st_shared_cluster_f32(there + lane * 4, given[lane]);
  st_shared_cluster_u32(there + 128 + lane * 4, float_bits(given[lane]));
  st_shared_cluster_f64(there + 256 + lane * 8, double(given[lane]) / 3);
  const float pattern[4] = {given[lane], 1.0f + lane, -given[lane], float(rank)};
  st_shared_cluster_f32x4(there + 512 + lane * 16, pattern);
  mbarrier_arrive_cluster(smem_u32(&arrived), left);
  mbarrier_wait_cluster(smem_u32(&arrived), 0);
  for (int i = 0; i < 8; i++) to[128 + i * 32 + lane] = got[i * 32 + lane];
  cluster_sync();
}
EXPORT_KERNEL(probe_cluster)

// Split arrival: work between it and the wait. One thread of each block then tells all blocks that it has read.
extern "C" __global__ void probe_cluster_split(const unsigned* in, unsigned* out) {
  __shared__ unsigned value;
  __shared__ alignas(8) unsigned long long read;
  if (threadIdx.x == 0) {
    value = in[blockIdx.x];
    mbarrier_init(smem_u32(&read), cluster_size());
    fence_mbarrier_init();
  }
  __syncthreads();
  cluster_arrive();
  unsigned sum = in[blockIdx.x] * 7;
  cluster_wait();
  for (unsigned rank = 0; rank < cluster_size(); rank++)
    sum = sum * 5 + ld_shared_cluster_u32(map_shared_rank(smem_u32(&value), rank));
  const bool elected = elect_one();
  if (elected)
    for (unsigned rank = 0; rank < cluster_size(); rank++) mbarrier_arrive_remote(smem_u32(&read), rank);
  mbarrier_wait(smem_u32(&read), 0);
  sum += __popc(__ballot_sync(~0u, elected)) * 100;
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum + cluster_rank();
  cluster_sync();
}
EXPORT_KERNEL(probe_cluster_split)
#endif
