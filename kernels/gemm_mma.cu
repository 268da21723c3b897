// Matrix products on tensor cores by mma.sync, for every generation since Turing.
//
//   out = epilogue(op(A) op(B)),  A stored (M, K), or (K, M) with A_TRANSPOSED; B stored (K, N), or (N, K) with B_TRANSPOSED
//
// Defines: those of gemm_mma/tile.cuh; A_TRANSPOSED, B_TRANSPOSED.
#include "gemm_mma/tile.cuh"

using SlicesA = Slices<!A_TRANSPOSED, TILE_M, A_BYTES>;
using SlicesB = Slices<B_TRANSPOSED, TILE_N, B_BYTES>;
constexpr bool IN_SHARED = sizeof(TYPE) == 4;  // where the tile's index lies

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    gemm_mma(const TYPE* a, const TYPE* b, OUT* out, const BIAS_TYPE* bias, OUT* aux, const OUT* residual,
             const Problem problem) {
  DYNAMIC_SHARED(unsigned char, shared, 128);
  __shared__ TileIndex held;  // of tf32, whose main loop takes every register
  TileIndex own;
  if constexpr (IN_SHARED) {
    if (threadIdx.x == 0) held = tile_index(problem, blockIdx.x);
    __syncthreads();
  } else {
    own = tile_index(problem, blockIdx.x);
  }
  const TileIndex& at = IN_SHARED ? held : own;
  const int first_m = at.m * TILE_M, first_n = at.n * TILE_N;
  const int k_first = at.split * problem.k_split, k_end = min(problem.k, k_first + problem.k_split);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / WARPS_N * WARP_M, warp_n = warp % WARPS_N * WARP_N;

  SlicesA slices_a(a + at.outer * problem.a_outer + at.inner * problem.a_inner, problem.a_stride, first_m, problem.m,
                   k_first, k_end);
  SlicesB slices_b(b + at.outer * problem.b_outer + at.inner * problem.b_inner, problem.b_stride, first_n, problem.n,
                   k_first, k_end);
  float sums[BLOCKS_M][BLOCKS_N][4] = {};
  accumulate(sums, slices_a, slices_b, shared, warp_m, warp_n, k_end - k_first);

  const Epilogue epilogue(problem, out + at.split * problem.split_stride, bias, aux, residual, at.outer, at.inner);
  write_out(epilogue, sums, reinterpret_cast<float*>(shared) + warp * 16 * PITCH, first_m + warp_m, first_n + warp_n,
            lane);
}
EXPORT_KERNEL(gemm_mma)
