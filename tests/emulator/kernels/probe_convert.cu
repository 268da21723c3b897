// Conversions and single instructions on n floats (and n doubles): one array out per wrapper.
#include "ptx.cuh"

extern "C" __global__ void probe_convert(const float* x, const double* y, bf16* to_bf16, f16* to_f16, f16* from_double,
                                         unsigned* rounded, unsigned* bf16_pairs, unsigned* f16_pairs, float* powers,
                                         int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  to_bf16[i] = bf16(x[i]);
  to_f16[i] = f16(x[i]);
  from_double[i] = f16(y[i]);
  rounded[i] = to_tf32(x[i]);
  bf16_pairs[i] = pack<bf16>(x[i], x[n - 1 - i]);
  f16_pairs[i] = pack<f16>(x[i], x[n - 1 - i]);
  powers[i] = exp2_approx(x[i]);
}
EXPORT_KERNEL(probe_convert)

// All 65,536 values of both types, and pairs taken apart and put together again.
extern "C" __global__ void probe_widen(float* from_bf16, float* from_f16, unsigned* pairs) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  from_bf16[i] = bf16::from_bits(uint16_t(i));
  from_f16[i] = f16::from_bits(uint16_t(i));
  const unsigned pair = i | (65535 - i) << 16;
  pairs[i] = pack(high_half<f16>(pair), low_half<f16>(pair));
}
EXPORT_KERNEL(probe_widen)
