// Attention in tiles, forward. Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning"
// (2023); the running maximum is Milakov and Gimelshein's, "Online normalizer calculation for softmax" (2018).
//
//   out = softmax(scale q k^T + mask) v,  lse = log of the softmax's denominator
//
// A block owns TILE_M rows of one head, a warp 16 or 32 of them. Keys and values pass in tiles of TILE_N rows through a
// ring of 2 STAGES buffers: K of a tile, V of it, K of the next ... A warp's scores stay in registers, become weights
// there, and are the left factor of the product with V.
//
// Defines: TYPE; HEAD and HEAD_V, to which rows of q and k, and of v, are filled up with zeros; TILE_M, TILE_N, TILE_WARPS,
// STAGES, BLOCKS (per multiprocessor); MASKED and MASK_TYPE (bool, or what is added); DROPOUT.
#pragma once
#include "attention/problem.cuh"

constexpr int THREADS = 32 * TILE_WARPS, WARP_M = TILE_M / TILE_WARPS, M = WARP_M / 16;
using Product = Products<TYPE>;
using Keys = Tile<TYPE, HEAD>;
using Values = Tile<TYPE, HEAD_V>;
using Masks = Weights<MASK_TYPE, false>;
constexpr int QUERY_BYTES = TILE_M * Keys::ROW_BYTES;
constexpr int SLOT = TILE_N * (Keys::ROW_BYTES > Values::ROW_BYTES ? Keys::ROW_BYTES : Values::ROW_BYTES);
constexpr int SLOTS = 2 * STAGES;
constexpr int SCRATCH = WARP_M * (TILE_N + 4) * Product::SCRATCH_PER_ROW;  // of a warp
static_assert(WARP_M % 16 == 0 && TILE_N % 16 == 0 && HEAD % 16 == 0 && HEAD_V % 16 == 0, "whole fragments");

// What a warp knows of its rows: the running maximum and sum of each of the 2 M that a thread has elements of.
struct Rows {
  float largest[M][2], sum[M][2];

  // Turns scores into weights relative to the running maxima, and scales `out` to them. factor makes scores logarithms
  // to base two.
  DEVICE_INLINE void soften(float (&s)[M][TILE_N / 8][4], float (&out)[M][HEAD_V / 8][4], float factor) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float high = largest[m][half];
#pragma unroll
        for (int n = 0; n < TILE_N / 8; n++) high = fmaxf(high, fmaxf(s[m][n][half * 2], s[m][n][half * 2 + 1]));
        high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, 1));
        high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, 2));
        const float shift = high == -INFINITY ? 0.0f : high * factor;  // of a row that has seen nothing yet
        const float scale = exp2_approx(fmaf(largest[m][half], factor, -shift));
        largest[m][half] = high;
        float total = sum[m][half] * scale;
#pragma unroll
        for (int n = 0; n < TILE_N / 8; n++)
#pragma unroll
          for (int e = half * 2; e < half * 2 + 2; e++) {
            s[m][n][e] = exp2_approx(fmaf(s[m][n][e], factor, -shift));
            total += s[m][n][e];
          }
        sum[m][half] = total;
#pragma unroll
        for (int n = 0; n < HEAD_V / 8; n++) out[m][n][half * 2] *= scale, out[m][n][half * 2 + 1] *= scale;
      }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    attention_forward(const TYPE* q, const TYPE* k, const TYPE* v, const MASK_TYPE* mask, TYPE* out, float* lse,
                      const int* queries_until, const int* keys_until, const unsigned long long* seed_at,
                      const unsigned long long* offset_at, const Attention a) {
  DYNAMIC_SHARED(unsigned char, shared, 128);
  const int tile = a.tiles - 1 - int(blockIdx.x % a.tiles);  // rows that see most keys first
  const int pair = int(blockIdx.x / a.tiles);
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
  const int rows = min(TILE_M, seq.queries - first), seen = seq.seen(first + rows - 1);
  const int steps = 2 * ((seen + TILE_N - 1) / TILE_N);

  unsigned char* const ring = shared + QUERY_BYTES;
  unsigned char* const scratch = ring + SLOTS * SLOT + warp * SCRATCH;
  auto fetch = [&](int step) {
    if (step < steps) {
      const int from = step / 2 * TILE_N;
      unsigned char* const to = ring + step % SLOTS * SLOT;
      if (step % 2 == 0)
        Keys::fetch<TILE_N, THREADS>(to, keys + from * a.k.row, a.k.row, seq.keys - from, a.head);
      else
        Values::fetch<TILE_N, THREADS>(to, values + from * a.v.row, a.v.row, seq.keys - from, a.head_v);
    }
    close_group();
  };

  float sums[M][HEAD_V / 8][4] = {};
  Rows state;
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) state.largest[m][half] = -INFINITY, state.sum[m][half] = 0.0f;
  const float factor = MASKED && Masks::ADDITIVE ? 1.0f : a.scale_log2;

  if (steps) {
    const TYPE* const queries = q + at(a.q, seq.batch, seq.head, seq.queries_before + first);
    Keys::fetch<TILE_M, THREADS>(shared, queries, a.q.row, rows, a.head);
#pragma unroll
    for (int step = 0; step < SLOTS - 1; step++) fetch(step);
  }
  for (int step = 0; step < steps; step += 2) {
    const int column = step / 2 * TILE_N, row = first + warp * WARP_M;
    wait_for_groups<SLOTS - 2>();
    __syncthreads();  // K has come; nobody reads the buffer of the V before it any more
    fetch(step + SLOTS - 1);
    float s[M][TILE_N / 8][4] = {};
    Product::tile_by_tile<HEAD>(s, shared, warp * WARP_M, ring + step % SLOTS * SLOT);
    if constexpr (MASKED) masks.apply(s, row, column, a.scale_log2, LOG2_E);
    if (column + TILE_N > seq.seen(row)) masks.hide(s, row, column);
    state.soften(s, sums, factor);
    if constexpr (DROPOUT) {
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < TILE_N / 8; n++) {
          const unsigned bits = masks.kept(row + m * 16, column + n * 8);
#pragma unroll
          for (int e = 0; e < 4; e++)
            if (!(bits >> e & 1)) s[m][n][e] = 0.0f;
        }
    }
    wait_for_groups<SLOTS - 2>();
    __syncthreads();  // V has come; nobody reads the buffer of K any more
    fetch(step + SLOTS);
    Product::rows_by_tile<HEAD_V>(sums, s, ring + (step + 1) % SLOTS * SLOT, [](float w) { return w; }, scratch);
  }

  TYPE* const to = out + at(a.out, seq.batch, seq.head, seq.queries_before + first);
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float total = warp_reduce<4>(state.sum[m][half], [](float x, float y) { return x + y; });
      const float scale = total != 0.0f ? (DROPOUT ? a.keep_scale : 1.0f) / total : 0.0f;
      const int row = warp * WARP_M + m * 16 + half * 8 + lane / 4;
      if (first + row >= seq.queries) continue;
      if (lane % 4 == 0)
        lse[seq.first_row + first + row] =
            total != 0.0f ? fmaf(state.largest[m][half] * factor, LN_2, logf(total)) : -INFINITY;
#pragma unroll
      for (int n = 0; n < HEAD_V / 8; n++) {
        const int column = n * 8 + lane % 4 * 2;
        store_pair(to + row * a.out.row, column, a.head_v, sums[m][n][half * 2] * scale,
                   sums[m][n][half * 2 + 1] * scale);
      }
    }
}
EXPORT_KERNEL(attention_forward)
