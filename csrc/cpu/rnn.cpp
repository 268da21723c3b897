#include "rnn.h"

#include <algorithm>
#include <cstring>

#include "gemm.h"
#include "rows.h"

#define WEFT_KERNELS "rnn.inc"
#include "each_isa.h"

namespace weft {

void lstm_cell(const float* gates, const float* c, float* h, float* c_new, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) { WEFT_DISPATCH(lstm_rows, gates, c, h, c_new, a, b, H); });
}

void lstm_cell_backward(const float* gh, const float* more_gh, const float* gc, const float* gates, const float* c,
                        const float* c_new, float* ggates, float* gc_old, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) {
    WEFT_DISPATCH(lstm_rows_backward, gh, more_gh, gc, gates, c, c_new, ggates, gc_old, a, b, H);
  });
}

void gru_cell(const float* gi, const float* gh, const float* h, float* h_new, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) { WEFT_DISPATCH(gru_rows, gi, gh, h, h_new, a, b, H); });
}

void gru_cell_backward(const float* g, const float* more_g, const float* gi, const float* gh, const float* h,
                       float* ggi, float* ggh, float* gh_old, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) {
    WEFT_DISPATCH(gru_rows_backward, g, more_g, gi, gh, h, ggi, ggh, gh_old, a, b, H);
  });
}

namespace {

// w (rows, columns) transposed into a buffer of this thread: a product by w^T at every step would pack it every time.
const float* transposed(const float* w, long rows, long columns) {
  constexpr long block = 16;
  float* t = scratch(16, size_t(rows * columns));
  for (long r = 0; r < rows; r += block)
    for (long c = 0; c < columns; c += block)
      for (long i = r; i < std::min(r + block, rows); i++)
        for (long j = c; j < std::min(c + block, columns); j++) t[j * rows + i] = w[i * columns + j];
  return t;
}

void copy_or_zero(float* to, const float* from, long n) {
  if (from)
    std::memcpy(to, from, size_t(n) * sizeof(float));
  else
    std::memset(to, 0, size_t(n) * sizeof(float));
}

}  // namespace

void lstm_layer(const Sequence& s, const float* x, const float* h0, const float* c0, const float* w_ih,
                const float* w_hh, const float* bias, float* hs, float* gates, float* cs) {
  const long G = 4 * s.H, state = s.N * s.H;
  sgemm(s.T * s.N, G, s.I, x, s.I, 1, w_ih, 1, s.I, gates, G, false, bias);
  const float *wt = transposed(w_hh, G, s.H), *h = h0, *c = c0;
  for (long k = 0; k < s.T; k++) {
    const long t = s.at(k);
    float* now = gates + t * s.N * G;
    sgemm(s.N, G, s.H, h, s.H, 1, wt, G, 1, now, G, true);
    lstm_cell(now, c, hs + t * state, cs + t * state, s.N, s.H);
    h = hs + t * state, c = cs + t * state;
  }
}

void lstm_layer_backward(const Sequence& s, const float* gates, const float* cs, const float* c0, const float* w_hh,
                         const float* gy, const float* gh, const float* gc, float* ggates, float* gh0, float* gc0) {
  const long G = 4 * s.H, state = s.N * s.H;
  copy_or_zero(gh0, gh, state);
  copy_or_zero(gc0, gc, state);
  for (long k = s.T - 1; k >= 0; k--) {
    const long t = s.at(k);
    const float* c = k ? cs + s.at(k - 1) * state : c0;
    float* now = ggates + t * s.N * G;
    lstm_cell_backward(gh0, gy ? gy + t * state : nullptr, gc0, gates + t * s.N * G, c, cs + t * state, now, gc0, s.N,
                       s.H);
    sgemm(s.N, s.H, G, now, G, 1, w_hh, s.H, 1, gh0, s.H);
  }
}

void gru_layer(const Sequence& s, const float* x, const float* h0, const float* w_ih, const float* w_hh,
               const float* b_ih, const float* b_hh, float* hs, float* inputs, float* recurrents) {
  const long G = 3 * s.H, state = s.N * s.H;
  sgemm(s.T * s.N, G, s.I, x, s.I, 1, w_ih, 1, s.I, inputs, G, false, b_ih);
  const float *wt = transposed(w_hh, G, s.H), *h = h0;
  for (long k = 0; k < s.T; k++) {
    const long t = s.at(k);
    float* now = recurrents + t * s.N * G;
    sgemm(s.N, G, s.H, h, s.H, 1, wt, G, 1, now, G, false, b_hh);
    gru_cell(inputs + t * s.N * G, now, h, hs + t * state, s.N, s.H);
    h = hs + t * state;
  }
}

void gru_layer_backward(const Sequence& s, const float* inputs, const float* recurrents, const float* hs,
                        const float* h0, const float* w_hh, const float* gy, const float* gh, float* ginputs,
                        float* grecurrents, float* gh0) {
  const long G = 3 * s.H, state = s.N * s.H;
  copy_or_zero(gh0, gh, state);
  for (long k = s.T - 1; k >= 0; k--) {
    const long t = s.at(k), gate = t * s.N * G;
    const float* h = k ? hs + s.at(k - 1) * state : h0;
    gru_cell_backward(gh0, gy ? gy + t * state : nullptr, inputs + gate, recurrents + gate, h, ginputs + gate,
                      grecurrents + gate, gh0, s.N, s.H);
    sgemm(s.N, s.H, G, grecurrents + gate, G, 1, w_hh, s.H, 1, gh0, s.H, true);
  }
}

}  // namespace weft
