// TMA of boxes. Defines: RANK, 1 to 5, IM2COL, 0 or 1, and ADD, whether stores add. `bytes` is the size of a box.
#include "ptx.cuh"

#if WEFT_ARCH >= 900

struct At {
  int c[5];
  unsigned short o[4];
};

// What a box looks like in shared memory. Blocks of a cluster: the block `rank` multicasts box number `rank` to all.
extern "C" __global__ void probe_tma_load(const __grid_constant__ TensorMap map, const At at, unsigned* out,
                                          int bytes) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  __shared__ alignas(8) unsigned long long barrier;
  const unsigned bar = smem_u32(&barrier), size = cluster_size(), rank = cluster_rank();
  const unsigned slot = (unsigned(bytes) + 1023) / 1024 * 1024;  // as swizzles want to be aligned
  if (threadIdx.x == 0) {
    prefetch_tensor_map(&map);
    mbarrier_init(bar, 1);
    fence_mbarrier_init();
  }
  cluster_sync();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect_tx(bar, bytes * size);
    const unsigned dst = smem_u32(shared) + rank * slot;
    const int (&c)[5] = at.c;
    [[maybe_unused]] const unsigned short (&o)[4] = at.o;
    const unsigned short everyone = (1 << size) - 1;
    if (size == 1) {
#if IM2COL && RANK == 3
      tma_load_im2col_3d(dst, &map, bar, c[0], c[1], c[2], o[0]);
#elif IM2COL && RANK == 4
      tma_load_im2col_4d(dst, &map, bar, c[0], c[1], c[2], c[3], o[0], o[1]);
#elif IM2COL
      tma_load_im2col_5d(dst, &map, bar, c[0], c[1], c[2], c[3], c[4], o[0], o[1], o[2]);
#elif RANK == 1
      tma_load_1d(dst, &map, bar, c[0]);
#elif RANK == 2
      tma_load_2d(dst, &map, bar, c[0], c[1]);
#elif RANK == 3
      tma_load_3d(dst, &map, bar, c[0], c[1], c[2]);
#elif RANK == 4
      tma_load_4d(dst, &map, bar, c[0], c[1], c[2], c[3]);
#else
      tma_load_5d(dst, &map, bar, c[0], c[1], c[2], c[3], c[4]);
#endif
    } else {  // each block shifts its box along the outermost dimension
      const int step = int(rank);
#if IM2COL && RANK == 3
      tma_load_im2col_multicast_3d(dst, &map, bar, c[0], c[1], c[2] + step, o[0], everyone);
#elif IM2COL && RANK == 4
      tma_load_im2col_multicast_4d(dst, &map, bar, c[0], c[1], c[2], c[3] + step, o[0], o[1], everyone);
#elif IM2COL
      tma_load_im2col_multicast_5d(dst, &map, bar, c[0], c[1], c[2], c[3], c[4] + step, o[0], o[1], o[2], everyone);
#elif RANK == 1
      tma_load_multicast_1d(dst, &map, bar, c[0] + step, everyone);
#elif RANK == 2
      tma_load_multicast_2d(dst, &map, bar, c[0], c[1] + step, everyone);
#elif RANK == 3
      tma_load_multicast_3d(dst, &map, bar, c[0], c[1], c[2] + step, everyone);
#elif RANK == 4
      tma_load_multicast_4d(dst, &map, bar, c[0], c[1], c[2], c[3] + step, everyone);
#else
      tma_load_multicast_5d(dst, &map, bar, c[0], c[1], c[2], c[3], c[4] + step, everyone);
#endif
    }
  }
  mbarrier_wait(bar, 0);
  const unsigned words = unsigned(bytes) / 4;
  for (unsigned i = threadIdx.x; i < words * size; i += blockDim.x)
    out[blockIdx.x * words * size + i] = shared[i / words * slot / 4 + i % words];
  cluster_sync();
}
EXPORT_KERNEL(probe_tma_load)

// Shared memory, given as it should lie there, goes out as a box, stored or (ADD) added.
extern "C" __global__ void probe_tma_store(const __grid_constant__ TensorMap map, const At at, const unsigned* in,
                                           int bytes) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  for (unsigned i = threadIdx.x; i < unsigned(bytes) / 4; i += blockDim.x) shared[i] = in[i];
  fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned src = smem_u32(shared);
    const int (&c)[5] = at.c;
#if IM2COL && RANK == 3
    tma_store_im2col_3d(&map, src, c[0], c[1], c[2]);
#elif IM2COL && RANK == 4
    tma_store_im2col_4d(&map, src, c[0], c[1], c[2], c[3]);
#elif IM2COL
    tma_store_im2col_5d(&map, src, c[0], c[1], c[2], c[3], c[4]);
#elif ADD && RANK == 1
    tma_reduce_add_1d(&map, src, c[0]);
#elif ADD && RANK == 2
    tma_reduce_add_2d(&map, src, c[0], c[1]);
#elif ADD && RANK == 3
    tma_reduce_add_3d(&map, src, c[0], c[1], c[2]);
#elif ADD && RANK == 4
    tma_reduce_add_4d(&map, src, c[0], c[1], c[2], c[3]);
#elif ADD
    tma_reduce_add_5d(&map, src, c[0], c[1], c[2], c[3], c[4]);
#elif RANK == 1
    tma_store_1d(&map, src, c[0]);
#elif RANK == 2
    tma_store_2d(&map, src, c[0], c[1]);
#elif RANK == 3
    tma_store_3d(&map, src, c[0], c[1], c[2]);
#elif RANK == 4
    tma_store_4d(&map, src, c[0], c[1], c[2], c[3]);
#else
    tma_store_5d(&map, src, c[0], c[1], c[2], c[3], c[4]);
#endif
    bulk_commit();
    bulk_wait<0>();
  }
}
EXPORT_KERNEL(probe_tma_store)
#endif
