// What instructions must not be given: each kernel of one warp makes one mistake, but for the last.
#include "ptx.cuh"

static DEVICE_INLINE void one_barrier(unsigned bar) {
  if (threadIdx.x == 0) mbarrier_init(bar, 1), fence_mbarrier_init();
  __syncwarp();
}

extern "C" __global__ void load_unaligned(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  __shared__ alignas(8) unsigned long long barrier;
  one_barrier(smem_u32(&barrier));
  if (threadIdx.x == 0) tma_load_3d(smem_u32(shared) + 512, &map, smem_u32(&barrier), 0, 0, 0);
}
EXPORT_KERNEL(load_unaligned)

extern "C" __global__ void store_not_waited_for(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  if (threadIdx.x == 0) {
    tma_store_2d(&map, smem_u32(shared), 0, 0);
    bulk_commit();
  }
}
EXPORT_KERNEL(store_not_waited_for)

extern "C" __global__ void store_not_committed(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  if (threadIdx.x == 0) {
    tma_store_2d(&map, smem_u32(shared), 0, 0);
    bulk_wait<0>();
  }
}
EXPORT_KERNEL(store_not_committed)

extern "C" __global__ void multicast_beyond_cluster(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  __shared__ alignas(8) unsigned long long barrier;
  one_barrier(smem_u32(&barrier));
  if (threadIdx.x == 0) tma_load_multicast_2d(smem_u32(shared), &map, smem_u32(&barrier), 0, 0, 3);
}
EXPORT_KERNEL(multicast_beyond_cluster)

extern "C" __global__ void ldmatrix_unaligned(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  unsigned r[4];
  ldmatrix_x4(r, smem_u32(shared) + threadIdx.x * 16 + 8);
}
EXPORT_KERNEL(ldmatrix_unaligned)

extern "C" __global__ void barrier_not_fenced(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  __shared__ alignas(8) unsigned long long barrier;
  if (threadIdx.x == 0) mbarrier_init(smem_u32(&barrier), 1);
  __syncwarp();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(smem_u32(&barrier), 1024);
    tma_load_2d(smem_u32(shared), &map, smem_u32(&barrier), 0, 0);
  }
  mbarrier_wait(smem_u32(&barrier), 0);
}
EXPORT_KERNEL(barrier_not_fenced)

extern "C" __global__ void store_overwritten(const __grid_constant__ TensorMap map) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  for (int i = threadIdx.x; i < 256; i += 32) shared[i] = i;
  fence_proxy_async();
  __syncwarp();
  if (threadIdx.x == 0) {
    tma_store_2d(&map, smem_u32(shared), 0, 0);
    bulk_commit();
  }
  __syncwarp();
  shared[threadIdx.x] = 0;
  __syncwarp();
  if (threadIdx.x == 0) bulk_wait<0>();
}
EXPORT_KERNEL(store_overwritten)

extern "C" __global__ void barrier_of_half_a_warp(const __grid_constant__ TensorMap map) { bar_sync(1, 16); }
EXPORT_KERNEL(barrier_of_half_a_warp)

extern "C" __global__ void store_overwritten_after_read(const __grid_constant__ TensorMap map, const unsigned* in,
                                                        int bytes) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  for (int i = threadIdx.x; i < bytes / 4; i += 32) shared[i] = in[i];
  fence_proxy_async();
  __syncwarp();
  if (threadIdx.x == 0) {
    tma_store_2d(&map, smem_u32(shared), 0, 0);
    bulk_commit();
    bulk_wait_read<0>();
  }
  __syncwarp();
  for (int i = threadIdx.x; i < bytes / 4; i += 32) shared[i] = 0xffffffff;
}
EXPORT_KERNEL(store_overwritten_after_read)
