// One mma.sync on row-major matrices: a (16, DEPTH), b (DEPTH, 8), d (16, 8). Defines: TYPE, DEPTH, and STORED, which
// is float for tf32.
#include "ptx.cuh"

extern "C" __global__ void probe_mma(const STORED* a, const STORED* b, const float* c, float* d) {
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  float sums[4];
  for (int i = 0; i < 4; i++) sums[i] = c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2];
  if constexpr (is_same<TYPE, tf32>) {
    unsigned x[4], y[2];
    for (int i = 0; i < 4; i++) x[i] = float_bits(float(a[(g + 8 * (i % 2)) * DEPTH + t + 4 * (i / 2)]));
    for (int i = 0; i < 2; i++) y[i] = float_bits(float(b[(t + 4 * i) * 8 + g]));
    mma_m16n8k8<tf32>(sums, x, y);
  } else {
    const unsigned short* p = reinterpret_cast<const unsigned short*>(a);
    const unsigned short* q = reinterpret_cast<const unsigned short*>(b);
    unsigned x[DEPTH / 4], y[DEPTH / 8];
    for (int i = 0; i < DEPTH / 4; i++) {
      const unsigned short* at = p + (g + 8 * (i % 2)) * DEPTH + 2 * t + 8 * (i / 2);
      x[i] = at[0] | unsigned(at[1]) << 16;
    }
    for (int i = 0; i < DEPTH / 8; i++)
      y[i] = q[(2 * t + 8 * i) * 8 + g] | unsigned(q[(2 * t + 1 + 8 * i) * 8 + g]) << 16;
#if DEPTH == 16
    mma_m16n8k16<TYPE>(sums, x, y);
#else
    mma_m16n8k8<TYPE>(sums, x, y[0]);
#endif
  }
  for (int i = 0; i < 4; i++) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sums[i];
}
EXPORT_KERNEL(probe_mma)
