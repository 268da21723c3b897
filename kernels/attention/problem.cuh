// What the kernels of attention compute: sizes and strides of a problem, which keys a query sees, what is added to its
// scores and which of its weights are dropped.
#pragma once
#include "common.cuh"
#include "philox.cuh"

struct Strides {  // of an array (batch, heads, rows, columns) whose columns lie together, in elements
  long long batch, head, row;
};

// python/weft/backends/gpu/attention_launch.py packs it. Sequences of different lengths lie one after the other: then
// sequence b has the rows cumulative[b] to cumulative[b + 1], queries and keys are those of the longest, batch strides 0.
struct Attention {
  Strides q, k, v, out;
  long long mask_batch, mask_head, mask_row, mask_key;
  long long rows_batch, rows_head;  // row i of (b, h) has the number b * rows_batch + h * rows_head + i in lse
  long long row_length;             // of the matrix of all weights, whose elements dropout counts
  unsigned long long seed, offset;
  float scale, scale_log2;  // the latter times log2(e)
  float keep_scale;         // 1 / (1 - dropout)
  unsigned threshold;       // of 24 bits: what a word must reach to stay
  int heads, group;         // of q; query heads per key head
  int queries, keys, head, head_v;
  int visible;       // row i sees the keys below i + visible
  int bottom_right;  // the last row of a sequence as well as row visible - 1 of a square one
  int tiles;         // of rows (or keys) per head: blocks of the grid
};

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

// One head of one sequence.
struct Sequence {
  int batch, head, queries, keys;
  int visible;                            // row i sees the keys below min(keys, i + visible)
  long long queries_before, keys_before;  // in arrays of all sequences
  long long first_row;                    // the number of its first row in lse

  DEVICE_INLINE Sequence(const Attention& a, const int* queries_until, const int* keys_until, int batch, int head)
      : batch(batch), head(head), queries(a.queries), keys(a.keys), queries_before(0), keys_before(0) {
    if (queries_until) cut(queries_until, a.rows_head, queries_before, queries);
    if (keys_until) cut(keys_until, a.row_length, keys_before, keys);
    visible = a.visible + (a.bottom_right ? keys - queries : 0);
    first_row = batch * a.rows_batch + head * a.rows_head + queries_before;
  }

  // The rows of this sequence, none outside of `all`, whatever the offsets are.
  DEVICE_INLINE void cut(const int* until, long long all, long long& before, int& count) const {
    before = max(0ll, min(all, (long long)(until[batch])));
    count = int(max(before, min(all, (long long)(until[batch + 1]))) - before);
  }

  // The same sequence of another head, whose first row has the number `row`.
  DEVICE_INLINE Sequence of(int other, long long row) const {
    Sequence s = *this;
    s.head = other, s.first_row = row;
    return s;
  }

  // How many keys row i sees.
  DEVICE_INLINE int seen(int i) const { return max(0, min(keys, i + visible)); }
};

// Shared memory for a T that one thread of a block makes and all read where they need it: registers are for sums.
template <class T>
struct Held {
  alignas(alignof(T)) unsigned char bytes[sizeof(T)];
  DEVICE_INLINE T& value() { return *reinterpret_cast<T*>(bytes); }
};

DEVICE_INLINE long long at(const Strides& s, int batch, int head, long long row) {
  return batch * s.batch + head * s.head + row * s.row;
}

// The words of a Philox block without an array that is indexed by a variable.
DEVICE_INLINE uint32_t pick(const Words& w, int i) {
  const uint32_t low = i & 1 ? w.at[1] : w.at[0], high = i & 1 ? w.at[3] : w.at[2];
  return i & 2 ? high : low;
}

// Masks and dropout of one head. The scores that a thread holds are fragments of mma.sync: with g = lane / 4 and
// t = lane % 4, element e of the 16 x 8 block (m, n) is in row 16 m + g + 8 (e / 2), column 8 n + 2 t + e % 2. Rows are
// queries and columns keys, or with FLIPPED the other way round.
template <class MASK_ELEMENT, bool FLIPPED>
struct Weights {
  static constexpr bool ADDITIVE = !is_same<MASK_ELEMENT, bool>;

  const MASK_ELEMENT* mask;
  long long mask_row, mask_key;
  int queries, keys, visible;
  unsigned long long seed, first_element, row_length;
  unsigned threshold;
  bool aligned;  // four keys that begin at a multiple of four share a block of random words

  DEVICE_INLINE Weights(const Attention& a, const Sequence& s, const MASK_ELEMENT* mask, unsigned long long seed,
                        unsigned long long offset)
      : mask(mask + s.batch * a.mask_batch + s.head * a.mask_head),
        mask_row(a.mask_row),
        mask_key(a.mask_key),
        queries(s.queries),
        keys(s.keys),
        visible(s.visible),
        seed(seed),
        first_element(offset + s.first_row * a.row_length + s.keys_before),
        row_length(a.row_length),
        threshold(a.threshold),
        aligned((first_element | row_length) % 4 == 0) {}

  // Calls f(score, i, j) for the scores of a thread, query i and key j.
  template <int M, int N, class F>
  static DEVICE_INLINE void each(float (&s)[M][N][4], int first_row, int first_column, F f) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int row = first_row + m * 16 + lane / 4 + e / 2 * 8,
                    column = first_column + n * 8 + lane % 4 * 2 + e % 2;
          f(s[m][n][e], FLIPPED ? column : row, FLIPPED ? row : column);
        }
  }

  // Scores in units of which `factor()` makes powers of two; -inf where a query may not see a key.
  template <int M, int N>
  DEVICE_INLINE void hide(float (&s)[M][N][4], int first_row, int first_column) const {
    each(s, first_row, first_column, [&](float& x, int i, int j) {
      if (j >= min(keys, i + visible)) x = -INFINITY;
    });
  }

  // Additive masks come in multiples of 1 / unit, and scores in those of 1 / scale.
  // Row by row: the loads of more would wait in more registers than there are.
  template <int M, int N>
  DEVICE_INLINE void apply(float (&s)[M][N][4], int first_row, int first_column, float scale, float unit) const {
    const int lane = threadIdx.x % 32;
    const long long along = FLIPPED ? mask_row : mask_key;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = first_row + m * 16 + lane / 4 + half * 8, column = first_column + lane % 4 * 2;
        const int end = row < (FLIPPED ? keys : queries) ? (FLIPPED ? queries : keys) - column : 0;
        const MASK_ELEMENT* p = mask + row * (FLIPPED ? mask_key : mask_row) + column * along;
        __syncwarp();
#pragma unroll
        for (int n = 0; n < N; n++, p += 8 * along)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            float& x = s[m][n][half * 2 + c];
            const bool inside = n * 8 + c < end;
            if constexpr (ADDITIVE) {
              const float added = inside ? float(p[c * along]) : 0.0f;
              // A mask of the least float is finite, and stays so in any unit.
              x = added == -INFINITY ? added : fmaf(x, scale, fmaxf(added, -2e38f) * unit);
            } else if (inside && !p[c * along]) {
              x = -INFINITY;
            }
          }
      }
  }

  DEVICE_INLINE unsigned long long element(int i, int j) const { return first_element + i * row_length + j; }

  // Which of the four weights of a 16 x 8 block stay, one bit each. All lanes of a warp call it.
  DEVICE_INLINE unsigned kept(int first_row, int first_column) const {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint32_t words[4];
    if (aligned && !FLIPPED) {
      // Lanes 2u and 2u + 1 hold four neighbouring keys of rows g and g + 8: each draws for one row, they swap halves.
      const bool odd = t & 1;
      const Words w = philox(element(first_row + g + odd * 8, first_column + (t & 2) * 2) >> 2, seed);
      const uint32_t x = __shfl_xor_sync(0xffffffffu, odd ? w.at[0] : w.at[2], 1);
      const uint32_t y = __shfl_xor_sync(0xffffffffu, odd ? w.at[1] : w.at[3], 1);
      words[0] = odd ? x : w.at[0], words[1] = odd ? y : w.at[1];
      words[2] = odd ? w.at[2] : x, words[3] = odd ? w.at[3] : y;
    } else if (aligned) {
      // Four lanes, 4 apart, hold neighbouring keys of four pairs (half of the block's rows, column): each draws for one
      // pair, and they transpose.
      const int r = g & 3;
      const Words w = philox(element(first_column + t * 2 + (r & 1), first_row + (g & 4) + (r & 2) * 4) >> 2, seed);
      const bool odd = r & 1, upper = r & 2;
      const uint32_t x = __shfl_xor_sync(0xffffffffu, odd ? w.at[0] : w.at[1], 4);
      const uint32_t y = __shfl_xor_sync(0xffffffffu, odd ? w.at[2] : w.at[3], 4);
      const uint32_t pairs[4] = {odd ? x : w.at[0], odd ? w.at[1] : x, odd ? y : w.at[2], odd ? w.at[3] : y};
      const uint32_t u = __shfl_xor_sync(0xffffffffu, upper ? pairs[0] : pairs[2], 8);
      const uint32_t v = __shfl_xor_sync(0xffffffffu, upper ? pairs[1] : pairs[3], 8);
      words[0] = upper ? u : pairs[0], words[1] = upper ? v : pairs[1];
      words[2] = upper ? pairs[2] : u, words[3] = upper ? pairs[3] : v;
    } else {
#pragma unroll 1
      for (int e = 0; e < 4; e++) {
        const int row = first_row + g + e / 2 * 8, column = first_column + t * 2 + e % 2;
        const unsigned long long i = FLIPPED ? element(column, row) : element(row, column);
        const uint32_t word = pick(philox(i >> 2, seed), int(i & 3));
        if (e == 0) words[0] = word;
        if (e == 1) words[1] = word;
        if (e == 2) words[2] = word;
        if (e == 3) words[3] = word;
      }
    }
    unsigned bits = 0;
#pragma unroll
    for (int e = 0; e < 4; e++) bits |= unsigned(words[e] >> 8 >= threshold) << e;
    return bits;
  }
};

// What all threads of a block of queries know of it.
template <class T, class MASK_ELEMENT>
struct Block {
  Sequence seq;
  Weights<MASK_ELEMENT, false> masks;
  const T *keys, *values;  // the first of the sequence's head

  DEVICE_INLINE Block(const Attention& a, const Sequence& seq, const T* k, const T* v, const MASK_ELEMENT* mask,
                      unsigned long long seed, unsigned long long offset)
      : seq(seq),
        masks(a, seq, mask, seed, offset),
        keys(k + at(a.k, seq.batch, seq.head / a.group, seq.keys_before)),
        values(v + at(a.v, seq.batch, seq.head / a.group, seq.keys_before)) {}
};
