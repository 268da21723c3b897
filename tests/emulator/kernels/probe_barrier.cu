// Named barriers and mbarriers: values that can only be right if every wait waits.
#include "ptx.cuh"

// 128 threads: warp w hands 32 values to warp w + 1 through barrier w + 1, which the giver only arrives at.
extern "C" __global__ void probe_named_barrier(const unsigned* in, unsigned* out) {
  __shared__ unsigned passed[4][32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  unsigned value = in[threadIdx.x];
  if (warp > 0) {
    bar_sync(warp, 64);
    value += passed[warp - 1][31 - lane];
  }
  passed[warp][lane] = value;
  if (warp < 3) bar_arrive(warp + 1, 64);
  out[threadIdx.x] = value;
}
EXPORT_KERNEL(probe_named_barrier)

#if WEFT_ARCH >= 900
// 64 threads, two phases of one barrier: warp 0 writes, warp 1 reads. Then the parity of phases as test_wait tells it.
extern "C" __global__ void probe_mbarrier(const unsigned* in, unsigned* out) {
  __shared__ unsigned values[32];
  __shared__ alignas(8) unsigned long long barriers[3];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const unsigned full = smem_u32(&barriers[0]), empty = smem_u32(&barriers[1]), spare = smem_u32(&barriers[2]);
  if (threadIdx.x == 0) {
    mbarrier_init(full, 32);
    mbarrier_init(empty, 32);
    mbarrier_init(spare, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  for (int phase = 0; phase < 4; phase++) {
    if (warp == 0) {
      mbarrier_wait(empty, (phase & 1) ^ 1);
      values[lane] = in[phase * 32 + lane];
      mbarrier_arrive(full);
    } else {
      while (!mbarrier_try_wait(full, phase & 1)) {}
      out[phase * 32 + lane] = values[31 - lane];
      mbarrier_arrive(empty);
    }
  }
  if (threadIdx.x == 0) {
    out[128] = mbarrier_test_wait(spare, 1) * 2 + mbarrier_test_wait(spare, 0);
    mbarrier_arrive(spare);
    out[129] = mbarrier_test_wait(spare, 1) * 2 + mbarrier_test_wait(spare, 0);
    mbarrier_arrive(spare);
    out[130] = mbarrier_test_wait(spare, 1) * 2 + mbarrier_test_wait(spare, 0);
    mbarrier_invalidate(spare);
  }
}
EXPORT_KERNEL(probe_mbarrier)

// Bytes announced apart from the arrival, or with it; cp.async of every lane that arrive by themselves.
extern "C" __global__ void probe_mbarrier_bytes(const unsigned* in, unsigned* out) {
  DYNAMIC_SHARED(unsigned, shared, 16);
  __shared__ alignas(8) unsigned long long barriers[2];
  const unsigned lane = threadIdx.x, base = smem_u32(shared), bulk = smem_u32(&barriers[0]), each = bulk + 8;
  if (lane == 0) {
    mbarrier_init(bulk, 1);
    mbarrier_init(each, 32);
    fence_mbarrier_init();
  }
  __syncwarp();
  if (lane == 0) {
    mbarrier_expect_tx(bulk, 128);
    mbarrier_arrive_expect_tx(bulk, 256);
    bulk_load(base, in, 128, bulk);
    bulk_load(base + 128, in + 32, 256, bulk);
  }
  cp_async_4(base + 384 + lane * 4, in + 96 + lane);
  cp_async_mbarrier_arrive(each);
  mbarrier_wait(bulk, 0);
  mbarrier_wait(each, 0);
  for (int i = 0; i < 4; i++) out[i * 32 + lane] = shared[i * 32 + 31 - lane];
}
EXPORT_KERNEL(probe_mbarrier_bytes)

// What threads wrote goes out by a bulk store, and is added to what is there by a bulk reduction.
extern "C" __global__ void probe_bulk_store(const float* in, float* stored, float* added) {
  DYNAMIC_SHARED(float, shared, 16);
  const unsigned thread = threadIdx.x, base = smem_u32(shared);
  shared[thread] = in[thread];
  fence_proxy_async();
  __syncthreads();
  if (thread == 0) {
    bulk_store(stored, base, blockDim.x * 4);
    bulk_commit();
    bulk_reduce_add_f32(added, base, blockDim.x * 4);
    bulk_commit();
    bulk_wait_read<0>();
  }
  __syncthreads();
  shared[thread] = -1;
  if (thread == 0) bulk_wait<0>();
}
EXPORT_KERNEL(probe_bulk_store)
#endif
