// The gradient of q: a block owns TILE_M rows of one head and meets tiles of TILE_N keys and values, a warp owns 16 or
// 32 rows. Every sum has one order.
//
// Defines: as forward.cuh.
#pragma once
#include "attention/backward.cuh"

constexpr int WARP_M = TILE_M / TILE_WARPS, M = WARP_M / 16;
using Masks = Weights<MASK_TYPE, false>;
constexpr int OWN = TILE_M * (Keys::ROW_BYTES + Values::ROW_BYTES);
constexpr int STAGE = TILE_N * (Keys::ROW_BYTES + Values::ROW_BYTES);
constexpr int SCRATCH = WARP_M * (TILE_N + 4) * Product::SCRATCH_PER_ROW;  // of a warp
static_assert(WARP_M % 16 == 0 && TILE_N % 16 == 0 && HEAD % 16 == 0 && HEAD_V % 16 == 0, "whole fragments");

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_backward_queries(const TYPE* q, const TYPE* k, const TYPE* v, const MASK_TYPE* mask, const TYPE* g,
                               const float* logs, const float* deltas, TYPE* gq, const int* queries_until,
                               const int* keys_until, const unsigned long long* seed_at,
                               const unsigned long long* offset_at, const Attention a, const Gradients d) {
  DYNAMIC_SHARED(unsigned char, shared, 128);
  const int tile = a.tiles - 1 - int(blockIdx.x % a.tiles), pair = int(blockIdx.x / a.tiles);
  __shared__ Held<Block<TYPE, MASK_TYPE>> held;
  const Sequence& seq = held.value().seq;
  const Masks& masks = held.value().masks;
  const TYPE *const &keys = held.value().keys, *const &values = held.value().values;
  if (threadIdx.x == 0) {
    const Sequence mine(a, queries_until, keys_until, pair / a.heads, pair % a.heads);
    held.value() =
        Block<TYPE, MASK_TYPE>(a, mine, k, v, mask, seed_at ? *seed_at : a.seed, offset_at ? *offset_at : a.offset);
  }
  __syncthreads();
  const int first = tile * TILE_M, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (first >= seq.queries) return;
  const int rows = min(TILE_M, seq.queries - first), own = warp * WARP_M;
  const int steps = (seq.seen(first + rows - 1) + TILE_N - 1) / TILE_N;

  unsigned char* const own_g = shared + TILE_M * Keys::ROW_BYTES;
  unsigned char* const ring = shared + OWN;
  unsigned char* const scratch = ring + STAGES * STAGE + warp * SCRATCH;
  auto fetch = [&](int step) {
    if (step < steps) {
      const int from = step * TILE_N;
      unsigned char* const to = ring + step % STAGES * STAGE;
      Keys::fetch<TILE_N, THREADS>(to, keys + from * a.k.row, a.k.row, seq.keys - from, a.head);
      Values::fetch<TILE_N, THREADS>(to + TILE_N * Keys::ROW_BYTES, values + from * a.v.row, a.v.row, seq.keys - from,
                                     a.head_v);
    }
    close_group();
  };

  if (steps) {
    Keys::fetch<TILE_M, THREADS>(shared, q + at(a.q, seq.batch, seq.head, seq.queries_before + first), a.q.row, rows,
                                 a.head);
    Values::fetch<TILE_M, THREADS>(own_g, g + at(d.g, seq.batch, seq.head, seq.queries_before + first), d.g.row, rows,
                                   a.head_v);
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) fetch(step);
  }
  float log[M][2], delta[M][2];
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = own + m * 16 + half * 8 + lane / 4;
      const long long number = seq.first_row + first + row;
      log[m][half] = row < rows ? logs[number] : INFINITY;
      delta[m][half] = row < rows ? deltas[number] : 0.0f;
    }

  float sums[M][HEAD / 8][4] = {};
  const float factor = MASKED && Masks::ADDITIVE ? 1.0f : NATURAL ? a.scale : a.scale_log2;
  for (int step = 0; step < steps; step++) {
    const int column = step * TILE_N, row = first + own;
    if constexpr (STAGES == 1) {
      __syncthreads();  // nobody reads the only buffer any more
      fetch(step);
    }
    wait_for_groups<STAGES == 1 ? 0 : STAGES - 2>();
    __syncthreads();
    if constexpr (STAGES > 1) fetch(step + STAGES - 1);
    const unsigned char* const tile_k = ring + step % STAGES * STAGE;

    float p[M][TILE_N / 8][4] = {};
    Product::tile_by_tile<HEAD>(p, shared, own, tile_k);
    if constexpr (MASKED) masks.apply(p, row, column, NATURAL ? a.scale : a.scale_log2, UNIT);
    if (column + TILE_N > seq.seen(row)) masks.hide(p, row, column);
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < TILE_N / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++)
          p[m][n][e] = weight < MASKED && Masks::ADDITIVE > (p[m][n][e], factor, log[m][e / 2]);
        if constexpr (DROPOUT) mark_dropped(p, masks.kept(row + m * 16, column + n * 8), m, n);
      }
    float s[M][TILE_N / 8][4] = {};
    Product::tile_by_tile<HEAD_V>(s, own_g, own, tile_k + TILE_N * Keys::ROW_BYTES);
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < TILE_N / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[m][n][e] = score_gradient(p[m][n][e], s[m][n][e], delta[m][e / 2], a.keep_scale);
    Product::rows_by_tile<HEAD>(sums, s, tile_k, Same(), scratch);
  }

  write_sums(gq + at(d.gq, seq.batch, seq.head, seq.queries_before + first), d.gq.row, sums, own, seq.queries - first,
             a.head, a.scale);
}
EXPORT_KERNEL(attention_backward_queries)
