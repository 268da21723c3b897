#include "rnn.h"

#include "rows.h"

#define WEFT_KERNELS "rnn.inc"
#include "each_isa.h"

namespace weft {

void lstm_cell(const float* gates, const float* c, float* h, float* c_new, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) { WEFT_DISPATCH(lstm_rows, gates, c, h, c_new, a, b, H); });
}

void lstm_cell_backward(const float* gh, const float* gc, const float* gates, const float* c, const float* c_new,
                        float* ggates, float* gc_old, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) {
    WEFT_DISPATCH(lstm_rows_backward, gh, gc, gates, c, c_new, ggates, gc_old, a, b, H);
  });
}

void gru_cell(const float* gi, const float* gh, const float* h, float* h_new, long N, long H) {
  parallel_rows(N, 5 * H, [=](long a, long b) { WEFT_DISPATCH(gru_rows, gi, gh, h, h_new, a, b, H); });
}

void gru_cell_backward(const float* g, const float* gi, const float* gh, const float* h, float* ggi, float* ggh,
                       float* gh_old, long N, long H) {
  parallel_rows(N, 5 * H,
                [=](long a, long b) { WEFT_DISPATCH(gru_rows_backward, g, gi, gh, h, ggi, ggh, gh_old, a, b, H); });
}

}  // namespace weft
