// One step of an LSTM and of a GRU after its matrix products, over N rows of H units, and its gradient; and whole layers.
// Gates lie side by side in a row, in PyTorch's order. The backward functions of cells and of the GRU compute the
// activations again; an LSTM's layer keeps them.
#pragma once

namespace weft {

// gates (N, 4H) before i, f, g, o; c, h, c_new (N, H).
void lstm_cell(const float* gates, const float* c, float* h, float* c_new, long N, long H);
// gh, more_gh (added to gh), gc: null for zeros. ggates (N, 4H), gc_old (N, H); gc_old may be gc.
void lstm_cell_backward(const float* gh, const float* more_gh, const float* gc, const float* gates, const float* c,
                        const float* c_new, float* ggates, float* gc_old, long N, long H);
// gi, gh (N, 3H) input and recurrent parts of r, z, n; h, h_new (N, H).
void gru_cell(const float* gi, const float* gh, const float* h, float* h_new, long N, long H);
// g + more_g (null for zeros) is the gradient of h_new; gh_old may be g.
void gru_cell_backward(const float* g, const float* more_g, const float* gi, const float* gh, const float* h,
                       float* ggi, float* ggh, float* gh_old, long N, long H);

// A layer over T steps, from the last one to the first where `reverse`. What is (T, N, ...) lies in the order of time.
struct Sequence {
  long T, N, I, H;
  bool reverse;

  long at(long k) const { return reverse ? T - 1 - k : k; }  // the time of step k
};

// What one task does of a step of a layer with N rows and H units: of so many panels of rows [p0, p1), of the blocks of
// units [b0, b1).
struct StepShare {
  long N, H, panels, p0, p1, b0, b1;
};

// x (T, N, I), h0, c0 (N, H), w_ih (4H, I), w_hh (4H, H), bias (4H,) or null -> hs, cs (T, N, H) and the gates
// (T, N, 4H) after their activations.
void lstm_layer(const Sequence& s, const float* x, const float* h0, const float* c0, const float* w_ih,
                const float* w_hh, const float* bias, float* hs, float* gates, float* cs);
// gy (T, N, H), gh, gc (N, H): gradients of hs and of the last states, null for zeros -> ggates, gh0, gc0.
void lstm_layer_backward(const Sequence& s, const float* gates, const float* cs, const float* c0, const float* w_hh,
                         const float* gy, const float* gh, const float* gc, float* ggates, float* gh0, float* gc0);
// The same of a GRU, but inputs and recurrents (T, N, 3H) are the two parts of the preactivations.
void gru_layer(const Sequence& s, const float* x, const float* h0, const float* w_ih, const float* w_hh,
               const float* b_ih, const float* b_hh, float* hs, float* inputs, float* recurrents);
void gru_layer_backward(const Sequence& s, const float* inputs, const float* recurrents, const float* hs,
                        const float* h0, const float* w_hh, const float* gy, const float* gh, float* ginputs,
                        float* grecurrents, float* gh0);

}  // namespace weft
