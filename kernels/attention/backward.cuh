// What both passes of attention's backward share. With P = exp(scale Q K^T + mask - lse), recomputed tile by tile,
//
//   gV = P^T G,   dS = P (G V^T - delta),   gQ = scale dS K,   gK = scale dS^T Q
//
// and delta, for each row, the product of its gradient and its output. With dropout P^T in the first product is what the
// forward pass multiplied by V, and G V^T passes through the same zeros. Weights that were dropped carry a minus sign.
// Dao et al., "FlashAttention: fast and memory-efficient exact attention" (2022), algorithm 4.
#pragma once
#include "attention/problem.cuh"

struct Gradients {
  Strides g, gq, gk, gv;
};

using Product = Products<TYPE>;
using Keys = Tile<TYPE, HEAD>;      // rows of q and k
using Values = Tile<TYPE, HEAD_V>;  // rows of v and g
constexpr int THREADS = 32 * TILE_WARPS;

// Scores and lse are logarithms to base two; of float32 natural ones, which round the few that matter, those close to
// lse, less.
constexpr bool NATURAL = sizeof(TYPE) == 4;
constexpr float UNIT = NATURAL ? 1.0f : LOG2_E;

// The weight of a score times `factor`, in a row of this lse.
template <bool ADDITIVE>
DEVICE_INLINE float weight(float x, float factor, float log) {
  float power = fmaf(x, factor, -log);
  if constexpr (ADDITIVE) power = fminf(power, 0.0f);  // rounded as far as 1e31 where a mask is the least float
  return exp2_approx(NATURAL ? power * LOG2_E : power);
}

template <int M, int N>
DEVICE_INLINE void mark_dropped(float (&p)[M][N][4], unsigned bits, int m, int n) {
#pragma unroll
  for (int e = 0; e < 4; e++)
    if (!(bits >> e & 1)) p[m][n][e] = -p[m][n][e];
}

// The gradient of a score: of its weight p and product x of gradient and value.
DEVICE_INLINE float score_gradient(float p, float x, float delta, float keep_scale) {
  if constexpr (DROPOUT) return fabsf(p) * ((p < 0.0f ? 0.0f : x * keep_scale) - delta);
  return p * (x - delta);
}

// What a dropped weight counts in a product.
struct Kept {
  DEVICE_INLINE float operator()(float p) const { return DROPOUT ? fmaxf(p, 0.0f) : p; }
};
struct Same {
  DEVICE_INLINE float operator()(float x) const { return x; }
};

// Writes sums times scale: rows [first, first + 16 M) of `rows`, columns of `columns`.
template <int M, int N>
DEVICE_INLINE void write_sums(TYPE* to, long long stride, const float (&sums)[M][N][4], int first, int rows,
                              int columns, float scale) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = first + m * 16 + half * 8 + lane / 4;
      if (row >= rows) continue;
#pragma unroll
      for (int n = 0; n < N; n++)
        store_pair(to + row * stride, n * 8 + lane % 4 * 2, columns, sums[m][n][half * 2] * scale,
                   sums[m][n][half * 2 + 1] * scale);
    }
}
