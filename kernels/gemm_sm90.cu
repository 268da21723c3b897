// GEMM for Hopper: gemm_sm90/mainloop.cuh, fed with boxes of two matrices. Whatever lies outside of a matrix is zero on
// the way in and dropped on the way out.
//
//   out = epilogue(A B), A (M, K), B (K, N), out (M, N), see epilogue.cuh; defines in gemm_sm90/tile.cuh
#include "gemm_sm90/mainloop.cuh"

#if WEFT_WGMMA

struct Operand {
  const TensorMap* map;
  int outer, inner;  // 0 where the batch shares one matrix, else 1
};

// Loads the part of an operand's tile that this block owes its cluster: 1/SHARERS of it, sent to all who share it.
// `at` is the tile's place in the stage, `mn` its first row of A or column of B.
template <int TILE_MN, bool ROWS_ALONG_K, int SHARERS>
DEVICE_INLINE void load_operand(const Operand& x, unsigned at, unsigned full, int k, int mn, const Tile& tile,
                                int rank) {
  const int outer = x.outer * tile.outer, inner = x.inner * tile.inner;
  if constexpr (ROWS_ALONG_K) {
    constexpr int PART = TILE_MN / SHARERS;
    static_assert(PART % 8 == 0, "parts start where the swizzle does");
    load_box<SHARERS>(at + rank * PART * ROW, x.map, full, k, mn + rank * PART, inner, outer);
  } else {
#pragma unroll
    for (int box = 0; box < TILE_MN / 64; box++)
      if (box % SHARERS == rank) load_box<SHARERS>(at + box * BOX_BYTES, x.map, full, mn + box * 64, k, inner, outer);
  }
}

struct Matrices {
  static constexpr int A_PIECE = ROW, B_PIECE = ROW;
  Operand a, b;
  Tile tile;
  int rank_m, rank_n;

  DEVICE_INLINE void prefetch() const {
    prefetch_tensor_map(a.map);
    prefetch_tensor_map(b.map);
  }
  DEVICE_INLINE void begin(const Tile& next, const Schedule& schedule, int) {
    tile = next;
    rank_m = schedule.rank_m, rank_n = schedule.rank_n;
  }
  DEVICE_INLINE void load(unsigned stage, unsigned full, int slice) const {
    load_operand<TILE_M, A_ROWS_K, CLUSTER_N>(a, stage, full, slice * TILE_K, tile.row, tile, rank_n);
    load_operand<TILE_N, B_ROWS_K, CLUSTER_M>(b, stage + A_BYTES, full, slice * TILE_K, tile.column, tile, rank_m);
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gemm_sm90(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
              const __grid_constant__ TensorMap map_out, const __grid_constant__ TensorMap map_extra, OUT* out,
              const BIAS_TYPE* bias, const __grid_constant__ Problem p, int band) {
  DYNAMIC_SHARED(unsigned char, shared_memory, 1024);
  Matrices matrices = {{&map_a, p.a_outer != 0, p.a_inner != 0}, {&map_b, p.b_outer != 0, p.b_inner != 0}};
  run_block(p, band, matrices, &map_out, &map_extra, out, bias, shared_memory);
}
EXPORT_KERNEL(gemm_sm90)

#endif
