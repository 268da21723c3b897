#include "rnn.h"

#include <algorithm>
#include <cstring>

#include "gemm.h"
#include "rows.h"

#define WEFT_KERNELS "rnn.inc"
#include "each_isa.h"

namespace weft {

void lstm_cell(const float* gates, const float* c, float* h, float* c_new, long N, long H) {
  parallel_rows(N, 5 * H,
                [=](long a, long b) { WEFT_DISPATCH(lstm_rows<false>, gates, c, h, c_new, nullptr, a, b, H, 0, H); });
}

void lstm_cell_backward(const float* gh, const float* more_gh, const float* gc, const float* gates, const float* c,
                        const float* c_new, float* ggates, float* gc_old, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) {
    WEFT_DISPATCH(lstm_rows_backward<false>, gh, more_gh, gc, gates, c, c_new, ggates, gc_old, a, b, H, 0, H);
  });
}

void gru_cell(const float* gi, const float* gh, const float* h, float* h_new, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) { WEFT_DISPATCH(gru_rows, gi, gh, h, h_new, a, b, H, 0, H); });
}

void gru_cell_backward(const float* g, const float* more_g, const float* gi, const float* gh, const float* h,
                       float* ggi, float* ggh, float* gh_old, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) {
    WEFT_DISPATCH(gru_rows_backward, g, more_g, gi, gh, h, ggi, ggh, gh_old, a, b, H, 0, H);
  });
}

namespace {

void copy_or_zero(float* to, const float* from, long n) {
  if (from)
    std::memcpy(to, from, size_t(n) * sizeof(float));
  else
    std::memset(to, 0, size_t(n) * sizeof(float));
}

constexpr int weights_slot = 16, operands_slot = 17;

// What the steps multiply: what lies in an array, or padded copies of that.
struct Operands {
  long size;
  float* copies;  // of two steps, null where none are needed

  float* copy(long k) const { return copies ? copies + k % 2 * size : nullptr; }
  const float* of(long k, const float* in_place) const { return copies ? copies + k % 2 * size : in_place; }
};

// The steps of one layer: how each is shared among threads, and the weights, packed once for all of them.
struct Steps {
  long T, N, H, gates, row_panels, blocks, row_parts, block_parts;

  Steps(const Sequence& s, long gates) : T(s.T), N(s.N), H(s.H), gates(gates) {
    blocks = WEFT_DISPATCH(unit_blocks, H);
    const double weights = double(gates) * double(H) * double(H);
    const long wanted = 2 * double(N) * weights < 2e5 ? 1 : num_threads();
    // Threads that share out the rows need not wait for each other. With few rows each, more time goes into the weights.
    const bool by_rows = N >= 8 * wanted;
    block_parts = by_rows ? 1 : std::min(wanted, blocks);
    row_parts = std::min(wanted / block_parts, N);
    row_panels = WEFT_DISPATCH(row_panels, N, row_parts);
  }

  // step(k, part) for the first k up to `count`, in order, by all parts.
  template <class Step>
  void run(long count, const Step& step) const {
    if (block_parts > 1) return parallel_steps(count, row_parts * block_parts, step);
    parallel_for(row_parts, [&](long part, int) {
      for (long k = 0; k < count; k++) step(k, part);
    });
  }
  StepShare share(long part) const {
    StepShare s{N, H, row_panels, 0, 0, 0, 0};
    split(row_panels, part / block_parts, row_parts, s.p0, s.p1);
    split(blocks, part % block_parts, block_parts, s.b0, s.b1);
    return s;
  }
  float* weights() const {
    constexpr long widest = 32;  // a block of units is at most this wide
    return scratch(weights_slot, size_t((H + widest) * gates * H));
  }
  const float* pack_weights(const float* w) const {
    float* to = weights();
    parallel_for(blocks, [&](long b, int) { WEFT_DISPATCH(pack_gates, w, gates, H, b, to); });
    return to;
  }
  const float* pack_weights_backward(const float* w) const {
    float* to = weights();
    parallel_for(blocks, [&](long b, int) { WEFT_DISPATCH(pack_gates_backward, w, gates, H, b, to); });
    return to;
  }
  Operands operands(long K) const {
    const long width = WEFT_DISPATCH(padded, K);
    return {N * width, width == K ? nullptr : scratch(operands_slot, size_t(2 * N * width))};
  }
  // The same of states, the first one in its place.
  Operands states(const float* first) const {
    const Operands to = operands(H);
    WEFT_DISPATCH(copy_rows, StepShare{N, H, row_panels, 0, row_panels, 0, blocks}, first, H, 0, H, to.copy(0));
    return to;
  }
  // The gradient of the first state: what comes through the gates of the first step, added to gh or in its place.
  void last_product(long part, const float* after, const float* packed, float* gh, bool add) const {
    const StepShare s = share(part);
    WEFT_DISPATCH(first_state_backward, s, after, gates * H, packed, gh, add);
  }
};

}  // namespace

void lstm_layer(const Sequence& s, const float* x, const float* h0, const float* c0, const float* w_ih,
                const float* w_hh, const float* bias, float* hs, float* gates, float* cs) {
  const long G = 4 * s.H, state = s.N * s.H;
  if (!state) return;
  sgemm(s.T * s.N, G, s.I, x, s.I, 1, w_ih, 1, s.I, gates, G, false, bias);
  const Steps steps(s, 4);
  const float* weights = steps.pack_weights(w_hh);
  const Operands states = steps.states(h0);
  steps.run(s.T, [&](long k, long part) {
    const long t = s.at(k);
    const float *c = k ? cs + s.at(k - 1) * state : c0, *h = k ? hs + s.at(k - 1) * state : h0;
    WEFT_DISPATCH(lstm_step, steps.share(part), states.of(k, h), weights, gates + t * s.N * G, c, hs + t * state,
                  cs + t * state, states.copy(k + 1));
  });
}

void lstm_layer_backward(const Sequence& s, const float* gates, const float* cs, const float* c0, const float* w_hh,
                         const float* gy, const float* gh, const float* gc, float* ggates, float* gh0, float* gc0) {
  const long G = 4 * s.H, state = s.N * s.H, all = s.N * G;
  if (!state) return;
  copy_or_zero(gh0, gh, state);
  copy_or_zero(gc0, gc, state);
  const Steps steps(s, 4);
  const float* weights = steps.pack_weights_backward(w_hh);
  const Operands operands = steps.operands(G);
  steps.run(s.T + 1, [&](long step, long part) {
    const long k = s.T - 1 - step, t = s.at(k);
    const float* after = step ? operands.of(step - 1, ggates + s.at(k + 1) * all) : nullptr;
    if (k < 0) return steps.last_product(part, after, weights, gh0, false);
    const float* c = k ? cs + s.at(k - 1) * state : c0;
    WEFT_DISPATCH(lstm_step_backward, steps.share(part), after, weights, gy ? gy + t * state : nullptr, gates + t * all,
                  c, cs + t * state, gh0, gc0, ggates + t * all, operands.copy(step));
  });
}

void gru_layer(const Sequence& s, const float* x, const float* h0, const float* w_ih, const float* w_hh,
               const float* b_ih, const float* b_hh, float* hs, float* inputs, float* recurrents) {
  const long G = 3 * s.H, state = s.N * s.H;
  if (!state) return;
  sgemm(s.T * s.N, G, s.I, x, s.I, 1, w_ih, 1, s.I, inputs, G, false, b_ih);
  const Steps steps(s, 3);
  const float* weights = steps.pack_weights(w_hh);
  const Operands states = steps.states(h0);
  steps.run(s.T, [&](long k, long part) {
    const long t = s.at(k), gate = t * s.N * G;
    const float* h = k ? hs + s.at(k - 1) * state : h0;
    WEFT_DISPATCH(gru_step, steps.share(part), states.of(k, h), weights, b_hh, inputs + gate, recurrents + gate, h,
                  hs + t * state, states.copy(k + 1));
  });
}

void gru_layer_backward(const Sequence& s, const float* inputs, const float* recurrents, const float* hs,
                        const float* h0, const float* w_hh, const float* gy, const float* gh, float* ginputs,
                        float* grecurrents, float* gh0) {
  const long G = 3 * s.H, state = s.N * s.H, all = s.N * G;
  if (!state) return;
  copy_or_zero(gh0, gh, state);
  const Steps steps(s, 3);
  const float* weights = steps.pack_weights_backward(w_hh);
  const Operands operands = steps.operands(G);
  steps.run(s.T + 1, [&](long step, long part) {
    const long k = s.T - 1 - step, t = s.at(k);
    const float* after = step ? operands.of(step - 1, grecurrents + s.at(k + 1) * all) : nullptr;
    if (k < 0) return steps.last_product(part, after, weights, gh0, true);
    const float* h = k ? hs + s.at(k - 1) * state : h0;
    WEFT_DISPATCH(gru_step_backward, steps.share(part), after, weights, gy ? gy + t * state : nullptr, inputs + t * all,
                  recurrents + t * all, h, gh0, ginputs + t * all, grecurrents + t * all, operands.copy(step));
  });
}

}  // namespace weft
