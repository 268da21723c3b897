// A copy between two orders of dimensions: what lies side by side in `in` does not in `out`, and the other way round. A
// block takes a tile of the two dimensions concerned through shared memory, so that it reads and writes whole lines.
// Defines: TYPE   uint8_t | uint16_t | uint32_t | uint64_t;   WIDE   1: 64-bit offsets.
#include "common.cuh"

constexpr int THREADS = 256, TILE = 32, LINES = THREADS / TILE;
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;
using Offset = typename Choose<WIDE, long long, int>::type;

// `plan` of python/weft/backends/gpu/transpose.py packs the same. x is the dimension in which out lies without gaps, y
// the one in which in does.
struct Transposition {
  Layout<2> rest;        // out, in: the other dimensions
  long long out_stride;  // of y
  long long in_stride;   // of x
  int size_x, size_y, tiles_x, tiles_y;
};

extern "C" __global__ void __launch_bounds__(THREADS) transpose(TYPE* out, const TYPE* in, const Transposition t) {
  __shared__ TYPE tile[TILE][TILE + 1];  // the odd length spreads a column over the banks
  const int lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
  const unsigned column = blockIdx.x % t.tiles_x, above = blockIdx.x / t.tiles_x, row = above % t.tiles_y;
  Offset at[2];
  t.rest.locate(Index(above / t.tiles_y), at);
  const int x = int(column) * TILE, y = int(row) * TILE;
#pragma unroll
  for (int k = line; k < TILE; k += LINES)
    if (x + k < t.size_x && y + lane < t.size_y)
      tile[k][lane] = in[at[1] + Offset(x + k) * Offset(t.in_stride) + (y + lane)];
  __syncthreads();
#pragma unroll
  for (int k = line; k < TILE; k += LINES)
    if (y + k < t.size_y && x + lane < t.size_x)
      out[at[0] + Offset(y + k) * Offset(t.out_stride) + (x + lane)] = tile[lane][k];
}
EXPORT_KERNEL(transpose)
