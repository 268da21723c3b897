// Matrix products by multiply-adds of single threads: float32 and float64 on every architecture, integers, and 16-bit
// floats where no tensor core takes them.
//
//   out = epilogue(op(A) op(B)),  A stored (M, K), or (K, M) with A_TRANSPOSED; B stored (K, N), or (N, K) with B_TRANSPOSED
//
// Defines: those of gemm_simt/tile.cuh; A_TRANSPOSED, B_TRANSPOSED; A_VECTOR, B_VECTOR: 1 where pointer, strides and
// length of the rows allow VECTOR elements at a time.
#include "gemm_simt/tile.cuh"

using SlicesA = Slices<!A_TRANSPOSED, TILE_M, A_VECTOR>;
using SlicesB = Slices<B_TRANSPOSED, TILE_N, B_VECTOR>;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    gemm_simt(const TYPE* a, const TYPE* b, OUT* out, const BIAS_TYPE* bias, OUT* aux, const OUT* residual,
              const Problem problem) {
  alignas(16) __shared__ COMPUTE shared_a[2][TILE_K][SlicesA::PITCH];
  alignas(16) __shared__ COMPUTE shared_b[2][TILE_K][SlicesB::PITCH];
  __shared__ TileIndex at;  // divided out once, and kept out of the registers of the main loop
  if (threadIdx.x == 0) at = tile_index(problem, blockIdx.x);
  __syncthreads();
  const int k_first = at.split * problem.k_split, k_end = min(problem.k, k_first + problem.k_split);

  SlicesA slices_a(a + at.outer * problem.a_outer + at.inner * problem.a_inner, problem.a_stride, at.m * TILE_M,
                   problem.m, k_first, k_end);
  SlicesB slices_b(b + at.outer * problem.b_outer + at.inner * problem.b_inner, problem.b_stride, at.n * TILE_N,
                   problem.n, k_first, k_end);
  Sums sums;
  sums.add(slices_a, slices_b, shared_a, shared_b, k_end - k_first);

  const Epilogue epilogue(problem, out + at.split * problem.split_stride, bias, aux, residual, at.outer, at.inner);
  sums.each([&](COMPUTE(&x)[VECTOR], int row, int column) {
    epilogue.apply<VECTOR>(x, at.m * TILE_M + row, at.n * TILE_N + column);
  });
}
EXPORT_KERNEL(gemm_simt)
