// The second pass of a product whose k was cut into parts: adds the sums of the parts, in their order, and applies the
// epilogue. sums: (parts, products, M, N). Each thread has VECTOR neighbouring columns of a row.
// Defines: those of epilogue.cuh.
#include "epilogue.cuh"

constexpr int VECTOR = 16 / sizeof(COMPUTE);

extern "C" __global__ void __launch_bounds__(256, 4)
    gemm_split(const COMPUTE* sums, OUT* out, const BIAS_TYPE* bias, OUT* aux, const OUT* residual,
               const Problem problem, int sums_aligned) {
  const unsigned pieces = (problem.n + VECTOR - 1) / VECTOR;
  const unsigned i = blockIdx.x * 256 + threadIdx.x;  // below 2^31: the host cuts no larger product
  const unsigned row_of_all = i / pieces, column = i % pieces * VECTOR;
  const unsigned product = row_of_all / problem.m, row = row_of_all % problem.m;
  if (product >= problem.batch) return;

  const COMPUTE* from = sums + (long long)row_of_all * problem.n + column;
  COMPUTE x[VECTOR] = {};
  for (int part = 0; part < problem.splits; part++, from += problem.split_stride) {
    Pack<COMPUTE, VECTOR> values;
    if (sums_aligned) {
      values = *reinterpret_cast<const Pack<COMPUTE, VECTOR>*>(from);
    } else {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) values.at[v] = column + v < problem.n ? from[v] : COMPUTE(0);
    }
#pragma unroll
    for (int v = 0; v < VECTOR; v++) x[v] += values.at[v];
  }
  const Epilogue epilogue(problem, out, bias, aux, residual, product / problem.inner, product % problem.inner);
  epilogue.apply<VECTOR>(x, row, column);
}
EXPORT_KERNEL(gemm_split)
