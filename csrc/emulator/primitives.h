// The emulated bodies of the instructions that kernels/ptx wraps: the C interface between them and the runtime.
// `file` and `line` are the caller's.
#pragma once

extern "C" {
// shared memory: 32-bit addresses. That of another block of the cluster has its rank + 1 in the bits from 24 on.
unsigned emu_smem_u32(const void* pointer, const char* file, int line);
unsigned emu_map_shared_rank(unsigned address, unsigned rank, const char* file, int line);
void emu_ld_shared_cluster(void* out, unsigned address, int bytes, const char* file, int line);
void emu_st_shared_cluster(unsigned address, const void* value, int bytes, const char* file, int line);

// clusters
unsigned emu_cluster_rank();
unsigned emu_cluster_size();
void emu_cluster_arrive(int relaxed, const char* file, int line);
void emu_cluster_wait(const char* file, int line);

// cp.async: `valid` bytes of `bytes` are read, the rest is zero
void emu_cp_async(unsigned destination, const void* source, int bytes, int valid, const char* file, int line);
void emu_cp_commit(const char* file, int line);
void emu_cp_wait(int groups_left, const char* file, int line);
// arrives at an mbarrier when the copies that this thread has begun are complete
void emu_cp_mbar_arrive(unsigned barrier, const char* file, int line);

// matrices in fragments. type: 0 bf16, 1 f16, 2 tf32
void emu_ldmatrix(unsigned* out, int count, int transpose, unsigned address, const char* file, int line);
void emu_stmatrix(const unsigned* in, int count, int transpose, unsigned address, const char* file, int line);
void emu_mma(int type, int k, float* d, const unsigned* a, const unsigned* b, const char* file, int line);

// mbarrier. arrive: `count` arrivals and `bytes` announced; try_wait parks the thread, and is called again
void emu_mbar_init(unsigned barrier, unsigned count, const char* file, int line);
void emu_mbar_arrive(unsigned barrier, unsigned count, unsigned bytes, const char* file, int line);
void emu_mbar_arrive_cluster(unsigned barrier, unsigned rank, const char* file, int line);
int emu_mbar_try_wait(unsigned barrier, unsigned parity, const char* file, int line);
int emu_mbar_test_wait(unsigned barrier, unsigned parity, const char* file, int line);
void emu_mbar_invalidate(unsigned barrier, const char* file, int line);
void emu_fence_mbarrier_init(const char* file, int line);

// TMA: coordinates innermost first; offsets of im2col may be null; `mask` of the cluster's ranks
void emu_tma_load(unsigned destination, const void* map, int rank, const int* coordinates, unsigned barrier,
                  const char* file, int line);
void emu_tma_load_im2col(unsigned destination, const void* map, int rank, const int* coordinates,
                         const unsigned short* offsets, unsigned barrier, const char* file, int line);
void emu_tma_load_multicast(unsigned destination, const void* map, int rank, const int* coordinates,
                            const unsigned short* offsets, unsigned barrier, unsigned mask, const char* file, int line);
void emu_tma_store(const void* map, int rank, const int* coordinates, unsigned source, int im2col, const char* file,
                   int line);
void emu_tma_reduce_add(const void* map, int rank, const int* coordinates, unsigned source, const char* file, int line);
void emu_bulk_load(unsigned destination, const void* source, unsigned bytes, unsigned barrier, const char* file,
                   int line);
void emu_bulk_store(void* destination, unsigned source, unsigned bytes, int add, const char* file, int line);
void emu_bulk_commit(const char* file, int line);
void emu_bulk_wait(int groups_left, int read_only, const char* file, int line);
void emu_fence_proxy_async(const char* file, int line);
void emu_prefetch_tensor_map(const void* map, const char* file, int line);

// wgmma: `a` is null where A lies in shared memory, at a_descriptor
void emu_wgmma(int n, float* d, const unsigned* a, unsigned long long a_descriptor, unsigned long long b_descriptor,
               int scale_d, int transpose_a, int transpose_b, int type, const char* file, int line);
void emu_wgmma_fence(const char* file, int line);
void emu_wgmma_commit(const char* file, int line);
void emu_wgmma_wait(int groups_left, const char* file, int line);

// lets other threads run
void emu_yield();
}
