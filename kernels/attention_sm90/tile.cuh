// The shape of attention_sm90: which rows a block computes, who of its threads does what, where things lie in shared
// memory.
//
// Defines, all given by python/weft/backends/gpu/attention_sm90.py:
//   TYPE             f16 or bf16
//   HEAD, HEAD_V     columns of q and k, and of v, filled up with zeros to a multiple of 16
//   CONSUMERS        warpgroups that compute, 64 rows of q each
//   TILE_N           keys that they take at a time
//   STAGES           of the ring of keys, and of that of values
//   TURNS            1: the warpgroups issue their products one after the other
//   VARLEN           1: sequences of different lengths lie one after the other
//   OUT_IN_Q         1: results leave through the memory of the queries, for want of more
//   SHARED_BYTES     what the host reserves
#pragma once
#include "attention_sm90/products.cuh"

constexpr int TILE_M = ROWS * CONSUMERS;
constexpr int THREADS = 128 * (1 + CONSUMERS);
using Share = Registers<CONSUMERS, CONSUMERS == 2 ? 40 : 32, CONSUMERS == 2 ? 232 : 160>;
constexpr int BOXES = boxes(HEAD), BOXES_V = boxes(HEAD_V), SUMS = whole(HEAD_V);
static_assert(HEAD % 16 == 0 && HEAD_V % 16 == 0 && HEAD <= 256 && HEAD_V <= 256, "whole steps of wgmma");
static_assert(TILE_N % 16 == 0 && TILE_N <= 256, "whole steps of wgmma");
static_assert(CONSUMERS == 2 || CONSUMERS == 3);

// Shared memory, in bytes from its start, which is aligned to 1,024 as the swizzle wants.
constexpr int TALL_BOX_BYTES = TILE_N * ROW;
constexpr int Q_BYTES = BOXES * BOX_BYTES, OUT_BYTES = BOXES_V * BOX_BYTES;  // of a warpgroup
constexpr int K_BYTES = BOXES * TALL_BOX_BYTES, V_BYTES = BOXES_V * TALL_BOX_BYTES;
constexpr int K_AT = 0;
constexpr int V_AT = K_AT + STAGES * K_BYTES;
constexpr int Q_AT = V_AT + STAGES * V_BYTES;
constexpr int OUT_AT = OUT_IN_Q ? Q_AT : Q_AT + CONSUMERS * Q_BYTES;
constexpr int OUT_STEP = OUT_IN_Q ? Q_BYTES : OUT_BYTES;
constexpr int K_FULL_AT = OUT_AT + CONSUMERS * OUT_STEP;  // mbarriers from here on
constexpr int K_EMPTY_AT = K_FULL_AT + 8 * STAGES;
constexpr int V_FULL_AT = K_EMPTY_AT + 8 * STAGES;
constexpr int V_EMPTY_AT = V_FULL_AT + 8 * STAGES;
constexpr int Q_FULL_AT = V_EMPTY_AT + 8 * STAGES;
constexpr int Q_EMPTY_AT = Q_FULL_AT + 8 * CONSUMERS;
static_assert(!OUT_IN_Q || OUT_BYTES <= Q_BYTES, "results fit where the queries were");
static_assert(Q_EMPTY_AT + 8 * CONSUMERS == SHARED_BYTES, "host and kernel lay out shared memory");
static_assert(SHARED_BYTES <= 232448, "what a block may have");

// `problem_of` of python/weft/backends/gpu/attention_sm90.py packs the same.
struct Problem {
  int queries, keys;              // of the longest sequence
  int visible;                    // row i sees the keys below i + visible, ...
  int bottom_right;               // ... 1: counted from where the last row sees the last key
  int heads, group;               // of q; query heads per head of keys
  int pairs;                      // of sequence and head
  int tiles;                      // of TILE_M rows, per pair
  int section;                    // pairs whose tiles run together, because their keys and values fit into L2
  int head_v;                     // columns of v and out
  float scale_log2;               // scores times this are logarithms to base two
  long long out_row, out_head;    // strides of out, in elements
  long long lse_batch, lse_head;  // and of lse
};

// Where sequences end that lie one after the other: sequence b has the rows until[b] to until[b + 1]; or null.
struct Until {
  const int *queries, *keys;
};

// TILE_M rows of one head of one sequence.
struct Tile {
  int batch, head, row;
  int steps;                   // tiles of keys that its rows see, at least one, taken from the last to the first
  int queries, keys, visible;  // of the sequence: row i sees the keys below min(keys, i + visible)
  int first_query, first_key;  // of the sequence, in arrays of all

  DEVICE_INLINE int outer() const { return VARLEN ? 0 : batch; }
};

// The tiles of a launch in the order in which they start. Those that see most keys come first, so that short ones fill
// the end; round by round the blocks take them back and forth, so that no block gets the longer one each time.
struct Schedule {
  const Problem& p;
  Until until;
  int round = 0;

  DEVICE_INLINE bool next(Tile& tile) {
    const int block = int(blockIdx.x), blocks = int(gridDim.x);
    while (true) {
      const int index = round * blocks + (round % 2 ? blocks - 1 - block : block);
      round++;
      if (index >= p.pairs * p.tiles) return false;
      const int first = index / (p.section * p.tiles) * p.section, in_section = index - first * p.tiles;
      const int pairs = min(p.section, p.pairs - first), pair = first + in_section % pairs;
      tile.batch = pair / p.heads;
      tile.head = pair % p.heads;
      tile.row = (p.tiles - 1 - in_section / pairs) * TILE_M;
      tile.queries = p.queries, tile.keys = p.keys, tile.visible = p.visible;
      tile.first_query = tile.first_key = 0;
      if constexpr (VARLEN) {
        if (until.queries != nullptr) {
          tile.first_query = until.queries[tile.batch];
          tile.queries = until.queries[tile.batch + 1] - tile.first_query;
        }
        if (until.keys != nullptr) {
          tile.first_key = until.keys[tile.batch];
          tile.keys = until.keys[tile.batch + 1] - tile.first_key;
        }
        if (tile.row >= tile.queries) continue;  // of a shorter sequence
        if (p.bottom_right) tile.visible += tile.keys - tile.queries;
      }
      const int seen = min(tile.keys, min(tile.row + TILE_M, tile.queries) - 1 + tile.visible);
      tile.steps = (max(seen, 1) + TILE_N - 1) / TILE_N;
      return true;
    }
  }
};

// A position in a ring of stages.
struct Ring {
  int stage = 0;
  unsigned phase = 0;

  DEVICE_INLINE void advance() {
    if (++stage == STAGES) stage = 0, phase ^= 1;
  }
};
