// The gradients of k and v: a block owns TILE_N keys of one key head and meets tiles of TILE_M queries of every head
// that reads it, a warp owns 16 or 32 keys. Scores are computed flipped, keys by queries, so that weights and their
// gradients are left factors that never leave registers. Every sum has one order, but where UNORDERED is asked for:
// then gradients of scores pass through shared memory once, and what they give of gq is added to it in no order.
//
// Defines: as forward.cuh, and GRADS: 1 for gv, 2 for gk, 3 for both, where registers hold the sums of both; UNORDERED.
#pragma once
#include "attention/backward.cuh"

constexpr int WARP_N = TILE_N / TILE_WARPS, M = WARP_N / 16, N = TILE_M / 8;
constexpr bool GV = GRADS & 1, GK = GRADS & 2;
using Masks = Weights<MASK_TYPE, true>;
using Flipped = Tile<TYPE, TILE_M>;
constexpr int OWN = TILE_N * (Keys::ROW_BYTES + (GK ? Values::ROW_BYTES : 0));
constexpr int QUERIES = TILE_M * Keys::ROW_BYTES;
constexpr int STAGE = QUERIES + TILE_M * (Values::ROW_BYTES + 2 * int(sizeof(float)));
constexpr int SCRATCH = WARP_N * (TILE_M + 4) * Product::SCRATCH_PER_ROW;  // of a warp
static_assert(WARP_N % 16 == 0 && TILE_M % 16 == 0 && HEAD % 16 == 0 && HEAD_V % 16 == 0, "whole fragments");
static_assert(!UNORDERED || GK, "gq needs the gradients of scores");

// How warps share a tile of gq: ROW_WARPS of them one below the other, each with blocks of 16 rows.
constexpr int ROW_WARPS = TILE_M / 16 < TILE_WARPS ? TILE_M / 16 : TILE_WARPS;
constexpr int column_warps(int most) {
  while (HEAD % (16 * most) != 0) most--;
  return most;
}
constexpr int COLUMN_WARPS = column_warps(TILE_WARPS / ROW_WARPS), COLUMNS = HEAD / COLUMN_WARPS;

DEVICE_INLINE void add_to_queries(float* gq, const unsigned char* flipped, const unsigned char* keys, int rows,
                                  int columns) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (warp >= ROW_WARPS * COLUMN_WARPS) return;
  const int first_column = warp / ROW_WARPS * COLUMNS;
#pragma unroll 1
  for (int row = warp % ROW_WARPS * 16; row < TILE_M; row += ROW_WARPS * 16) {
    float sums[COLUMNS / 8][4] = {};
    Product::flipped_by_tile<TILE_N, TILE_M, HEAD>(sums, flipped, row, keys, first_column);
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int i = row + e / 2 * 8 + lane / 4, column = first_column + n * 8 + lane % 4 * 2 + e % 2;
        if (i < rows && column < columns) atomicAdd(gq + (long long)(i)*columns + column, sums[n][e]);
      }
  }
}

// What all threads of a block know of it.
struct KeyBlock {
  Sequence seq;  // of the first head of the group
  int key_head, first, rows;
  int first_tile, end_tile;  // of the queries that see one of its keys

  DEVICE_INLINE KeyBlock(const Sequence& seq, int key_head, int tile)  // first keys first, which most queries see
      : seq(seq),
        key_head(key_head),
        first(tile * TILE_N),
        rows(min(TILE_N, seq.keys - first)),
        first_tile(max(0, first - seq.visible + 1) / TILE_M),
        end_tile(max(first_tile, (seq.queries + TILE_M - 1) / TILE_M)) {}
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_backward_keys(const TYPE* q, const TYPE* k, const TYPE* v, const MASK_TYPE* mask, const TYPE* g,
                            const float* logs, const float* deltas, TYPE* gk, TYPE* gv, float* gq,
                            const int* queries_until, const int* keys_until, const unsigned long long* seed_at,
                            const unsigned long long* offset_at, const Attention a, const Gradients d) {
  DYNAMIC_SHARED(unsigned char, shared, 128);
  __shared__ Held<KeyBlock> held;
  const KeyBlock& block = held.value();
  const Sequence& seq = block.seq;
  if (threadIdx.x == 0) {
    const int pair = int(blockIdx.x / a.tiles), key_heads = a.heads / a.group;
    const Sequence mine(a, queries_until, keys_until, pair / key_heads, pair % key_heads * a.group);
    held.value() = KeyBlock(mine, pair % key_heads, int(blockIdx.x % a.tiles));
  }
  __syncthreads();
  if (block.first >= seq.keys) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, own = warp * WARP_N;
  const int steps = a.group * (block.end_tile - block.first_tile);

  unsigned char* const own_v = shared + TILE_N * Keys::ROW_BYTES;
  unsigned char* const ring = shared + OWN;
  unsigned char* const flipped = ring + STAGES * STAGE;
  unsigned char* const scratch = flipped + (UNORDERED ? TILE_N * Flipped::ROW_BYTES : 0) + warp * SCRATCH;
  int next_head = 0, next_tile = block.first_tile;  // heads are counted from the group's first
  auto fetch = [&](int step) {
    if (step < steps) {
      const int from = next_tile * TILE_M, left = seq.queries - from;
      unsigned char* const to = ring + step % STAGES * STAGE;
      Keys::fetch<TILE_M, THREADS>(to, q + at(a.q, seq.batch, seq.head + next_head, seq.queries_before + from), a.q.row,
                                   left, a.head);
      Values::fetch<TILE_M, THREADS>(to + QUERIES,
                                     g + at(d.g, seq.batch, seq.head + next_head, seq.queries_before + from), d.g.row,
                                     left, a.head_v);
      float* const numbers = reinterpret_cast<float*>(to + QUERIES + TILE_M * Values::ROW_BYTES);
      const long long row = seq.first_row + next_head * a.rows_head + from;
      for (int i = threadIdx.x; i < TILE_M; i += THREADS) {
        copy_4(numbers + i, logs + (i < left ? row + i : 0), i < left);
        copy_4(numbers + TILE_M + i, deltas + (i < left ? row + i : 0), i < left);
      }
      if (++next_tile == block.end_tile) next_tile = block.first_tile, next_head++;
    }
    close_group();
  };

  if (steps) {
    Keys::fetch<TILE_N, THREADS>(shared, k + at(a.k, seq.batch, block.key_head, seq.keys_before + block.first), a.k.row,
                                 block.rows, a.head);
    if constexpr (GK)
      Values::fetch<TILE_N, THREADS>(own_v, v + at(a.v, seq.batch, block.key_head, seq.keys_before + block.first),
                                     a.v.row, block.rows, a.head_v);
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) fetch(step);
  }

  float sums_k[GK ? M : 1][GK ? HEAD / 8 : 1][4] = {}, sums_v[GV ? M : 1][GV ? HEAD_V / 8 : 1][4] = {};
  const float factor = MASKED && Masks::ADDITIVE ? 1.0f : NATURAL ? a.scale : a.scale_log2;
  int now_head = 0, now_tile = block.first_tile;
  for (int step = 0; step < steps; step++) {
    if constexpr (STAGES == 1) {
      __syncthreads();  // nobody reads the only buffer any more
      fetch(step);
    }
    wait_for_groups<STAGES == 1 ? 0 : STAGES - 2>();
    __syncthreads();
    if constexpr (STAGES > 1) fetch(step + STAGES - 1);
    const unsigned char* const tile_q = ring + step % STAGES * STAGE;
    const unsigned char* const tile_g = tile_q + QUERIES;
    const float* const numbers = reinterpret_cast<const float*>(tile_g + TILE_M * Values::ROW_BYTES) + lane % 4 * 2;
    const int column = now_tile * TILE_M, row = block.first + own;

    float p[M][N][4] = {};
    Product::tile_by_tile<HEAD>(p, shared, own, tile_q);
    const Sequence now = seq.of(seq.head + now_head, seq.first_row + now_head * a.rows_head);
    const Masks masks(a, now, mask, seed_at ? *seed_at : a.seed, offset_at ? *offset_at : a.offset);
    if constexpr (MASKED) masks.apply(p, row, column, NATURAL ? a.scale : a.scale_log2, UNIT);
    if (row + WARP_N > seq.seen(column)) masks.hide(p, row, column);
#pragma unroll
    for (int n = 0; n < N; n++) {
      const auto log = *reinterpret_cast<const Vector<float, 2>*>(numbers + n * 8);
#pragma unroll
      for (int m = 0; m < M; m++) {
#pragma unroll
        for (int e = 0; e < 4; e++)
          p[m][n][e] = weight < MASKED && Masks::ADDITIVE > (p[m][n][e], factor, log.at[e % 2]);
        if constexpr (DROPOUT) mark_dropped(p, masks.kept(row + m * 16, column + n * 8), m, n);
      }
    }
    if constexpr (GV) Product::rows_by_tile<HEAD_V>(sums_v, p, tile_g, Kept(), scratch);
    if constexpr (GK) {
      float s[M][N][4] = {};
      Product::tile_by_tile<HEAD_V>(s, own_v, own, tile_g);
#pragma unroll
      for (int n = 0; n < N; n++) {
        const auto delta = *reinterpret_cast<const Vector<float, 2>*>(numbers + TILE_M + n * 8);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
          for (int e = 0; e < 4; e++)
            s[m][n][e] = score_gradient(p[m][n][e], s[m][n][e], delta.at[e % 2], a.keep_scale);
      }
      Product::rows_by_tile<HEAD>(sums_k, s, tile_q, Same(), scratch);
      if constexpr (UNORDERED) {
        Product::put(flipped, own, s);
        __syncthreads();
        add_to_queries(gq + (seq.first_row + now_head * a.rows_head + column) * a.head, flipped, shared,
                       seq.queries - column, a.head);
      }
    }
    if (++now_tile == block.end_tile) now_tile = block.first_tile, now_head++;
  }
  if constexpr (GK)
    write_sums(gk + at(d.gk, seq.batch, block.key_head, seq.keys_before + block.first), d.gk.row, sums_k, own,
               block.rows, a.head, a.scale);
  if constexpr (GV)
    write_sums(gv + at(d.gv, seq.batch, block.key_head, seq.keys_before + block.first), d.gv.row, sums_v, own,
               block.rows, a.head_v, DROPOUT ? a.keep_scale : 1.0f);
}
EXPORT_KERNEL(attention_backward_keys)
