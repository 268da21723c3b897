// Copies matrices to where rows start at multiples of 16 bytes, for kernels that need it; transposes them on the way
// if TRANSPOSED is 1. Defines: TYPE, an unsigned type of the elements' size; TRANSPOSED.
//
// from: products of `inner` by `outer`, (rows, columns) each; to: the same in order, rows `to_stride` elements apart, or
// columns where transposed. A block of 256 threads has 64x64 elements.
#include "ptx.cuh"

constexpr int TILE = 64;
constexpr int LINES = 256 / TILE;  // of a tile that the threads move at a time

extern "C" __global__ void __launch_bounds__(256)
    gemm_pack(const TYPE* from, TYPE* to, long long from_stride, long long from_outer, long long from_inner, int rows,
              int columns, int inner, long long to_stride) {
  __shared__ TYPE tile[TILE][TILE + 4 / sizeof(TYPE)];  // a word more, so that columns lie in different banks
  const int across = (columns + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
  const int product = blockIdx.x / (across * down), at = blockIdx.x % (across * down);
  const int row = at / across * TILE, column = at % across * TILE;
  const int lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
  from += product / inner * from_outer + product % inner * from_inner;
  to += product * (TRANSPOSED ? columns : rows) * to_stride;

#pragma unroll
  for (int i = 0; i < TILE; i += LINES) {
    const int r = row + line + i, c = column + lane;
    if (r >= rows || c >= columns) continue;
    const TYPE x = from[r * from_stride + c];
    if (TRANSPOSED) {
      tile[line + i][lane] = x;
    } else {
      to[r * to_stride + c] = x;
    }
  }
  if (!TRANSPOSED) return;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < TILE; i += LINES) {
    const int r = row + lane, c = column + line + i;
    if (r < rows && c < columns) to[c * to_stride + r] = tile[lane][line + i];
  }
}
EXPORT_KERNEL(gemm_pack)
