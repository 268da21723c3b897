// One wgmma, or two of which the second adds: d (64, COLUMNS) = a b + a b. Shared memory is given as it should lie
// there, so that whoever calls says what the descriptors mean. Defines: COLUMNS, TYPE, A_TRANSPOSED, B_TRANSPOSED,
// SWIZZLE, A_IN_REGISTERS, PRODUCTS, A_BYTES, B_BYTES.
#include "ptx.cuh"

#if WEFT_WGMMA
// image: a then b, A_BYTES and B_BYTES; registers: 4 per thread. d: COLUMNS / 2 per thread, as they are.
extern "C" __global__ void __launch_bounds__(128, 1) probe_wgmma(const unsigned* image, const unsigned* registers,
                                                                 float* d, int a_lbo, int a_sbo, int b_lbo, int b_sbo) {
  DYNAMIC_SHARED(unsigned, shared, 1024);
  for (int i = threadIdx.x; i < (A_BYTES + B_BYTES) / 4; i += 128) shared[i] = image[i];
  fence_proxy_async();
  __syncthreads();
  const uint64_t b = smem_descriptor(smem_u32(shared) + A_BYTES, b_lbo, b_sbo, SWIZZLE);
  float sums[COLUMNS / 2];
  for (int i = 0; i < COLUMNS / 2; i++) sums[i] = 1.0f;
#if A_IN_REGISTERS
  unsigned a[4];
  for (int i = 0; i < 4; i++) a[i] = registers[threadIdx.x * 4 + i];
#else
  const uint64_t a = smem_descriptor(smem_u32(shared), a_lbo, a_sbo, SWIZZLE);
#endif
  wgmma_fence();
#pragma unroll
  for (int i = 0; i < PRODUCTS; i++) {
#if A_IN_REGISTERS
    wgmma<COLUMNS, TYPE, B_TRANSPOSED>(sums, a, b, i > 0);
#else
    wgmma<COLUMNS, TYPE, A_TRANSPOSED, B_TRANSPOSED>(sums, a, b, i > 0);
#endif
  }
  wgmma_commit();
  wgmma_wait<0>();
  wgmma_hold(sums);
  for (int i = 0; i < COLUMNS / 2; i++) d[threadIdx.x * (COLUMNS / 2) + i] = sums[i];
}
EXPORT_KERNEL(probe_wgmma)
#endif
