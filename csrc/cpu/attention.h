// Scaled dot-product attention, forward and backward, in tiles: memory linear in the lengths.
//
// Rows are processed a register tile at a time: scores against one block of keys, softmax with a running maximum and
// sum, product with the values. The backward pass computes the weights again from the saved logarithm of each row's
// denominator. Every sum is taken in an order fixed by the shapes alone, whatever the number of threads.
#pragma once
#include <cstdint>

namespace weft {

// (batch, head, row, D) floats: distances in floats between batches, heads and rows; a row is contiguous.
struct HeadArray {
  float* data;
  long batch, head, row;

  float* at(long b, long h) const { return data + b * batch + h * head; }
};

// What is added to the scores (or, as bool, kept of them); distances in elements, 0 along a broadcast axis.
struct ScoreMask {
  const uint8_t* keep;  // one of these two, or neither
  const float* add;
  long batch, head, row, key;  // key is 0 or 1
};

struct Attention {
  long B, H, S, T, D, Dv;
  long group;  // query heads per key head: head h reads key head h / group
  HeadArray q, k, v;
  ScoreMask mask;
  float scale;
  bool causal;
  bool dropout;
  uint32_t threshold;  // a weight stays where the upper 24 bits of its word are at least this
  float keep_scale;
  uint64_t seed, offset;

  long last_key(long row) const { return causal && row + 1 < T ? row + 1 : T; }  // one past it
};

// out (B, H, S, Dv), lse (B, H, S) contiguous: -inf, and 0 in out, for a row that sees no key.
void attention(const Attention& a, HeadArray out, float* lse);

// The gradient of out, what attention() gave, and where the gradients of q, k and v go.
struct AttentionGrads {
  HeadArray g, out;
  const float* lse;
  HeadArray gq, gk, gv;
};
void attention_backward(const Attention& a, const AttentionGrads& d);

}  // namespace weft
