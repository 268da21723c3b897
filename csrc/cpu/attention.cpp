#include "attention.h"

#define WEFT_KERNELS "attention.inc"
#include "each_isa.h"

namespace weft {
namespace {

constexpr long row_unit = 64;  // row ranges begin at multiples of the kernels' block of rows

long pieces(long heads, long rows) {
  // One piece per head where there are plenty: each piece packs the head's keys again.
  long wanted = heads >= 4L * num_threads() ? 1 : (4L * num_threads() + heads - 1) / heads;
  return std::max(1L, std::min(num_threads() == 1 ? 1 : wanted, (rows + row_unit - 1) / row_unit));
}

void clear(HeadArray x, long B, long H, long rows, long D) {
  for (long b = 0; b < B; b++)
    for (long h = 0; h < H; h++)
      for (long i = 0; i < rows; i++) std::memset(x.at(b, h) + i * x.row, 0, size_t(D) * sizeof(float));
}

}  // namespace

void attention(const Attention& a, HeadArray out, float* lse) {
  const long heads = a.B * a.H;
  if (a.T == 0) {
    clear(out, a.B, a.H, a.S, a.Dv);
    std::fill(lse, lse + heads * a.S, -std::numeric_limits<float>::infinity());
    return;
  }
  if (heads == 0 || a.S == 0) return;
  const long blocks = (a.S + row_unit - 1) / row_unit, parts = pieces(heads, a.S);
  parallel_for(heads * parts, [&](long t, int) {
    long begin, end;  // the last rows first: in a causal head they see most
    split(blocks, parts - 1 - t % parts, parts, begin, end);
    WEFT_DISPATCH(attention_rows, a, out, lse, t / parts, begin * row_unit, std::min(a.S, end * row_unit));
  });
}

void attention_backward(const Attention& a, const AttentionGrads& d) {
  if (a.T == 0) return clear(d.gq, a.B, a.H, a.S, a.D);
  const long key_heads = a.group ? a.B * (a.H / a.group) : 0;
  if (key_heads == 0) return;
  const auto part = [&](long head, long r0, long r1, long k0, long k1, bool q, bool kv) {
    WEFT_DISPATCH(attention_backward_part, a, d, head, r0, r1, k0, k1, q, kv);
  };
  const long threads = num_threads(), blocks = (a.S + row_unit - 1) / row_unit;
  const long step = WEFT_DISPATCH(attention_key_step, a.T), key_blocks = (a.T + step - 1) / step;
  if (threads == 1 || key_heads % threads == 0 || key_heads >= 3 * threads || (blocks <= 1 && key_blocks <= 1)) {
    parallel_for(key_heads, [&](long head, int) { part(head, 0, a.S, 0, a.T, true, true); });
    return;
  }
  // Too few heads to keep every thread busy: rows and keys are divided too. gq needs all keys of its rows, gk and gv
  // all rows of their keys, so the weights are computed twice; each sum has the same order as above.
  const long row_parts = std::max(1L, std::min(blocks, 4 * threads / key_heads));
  const long key_parts = std::max(1L, std::min(key_blocks, 4 * threads / key_heads));
  parallel_for(key_heads * (row_parts + key_parts), [&](long t, int) {
    long head = t / (row_parts + key_parts), p = t % (row_parts + key_parts), begin, end;
    if (p < key_parts) {
      split(key_blocks, p, key_parts, begin, end);
      part(head, 0, a.S, begin * step, std::min(a.T, end * step), false, true);
    } else {
      split(blocks, row_parts - 1 - (p - key_parts), row_parts, begin, end);
      part(head, begin * row_unit, std::min(a.S, end * row_unit), 0, a.T, true, false);
    }
  });
}

}  // namespace weft
