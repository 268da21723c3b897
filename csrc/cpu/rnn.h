// One step of an LSTM and of a GRU after its matrix products, over N rows of H units, and its gradient. Gates lie side by
// side in a row, in PyTorch's order; the backward functions compute the activations again.
#pragma once

namespace weft {

// gates (N, 4H) before i, f, g, o; c, h, c_new (N, H).
void lstm_cell(const float* gates, const float* c, float* h, float* c_new, long N, long H);
// gh, gc: null for zeros. ggates (N, 4H), gc_old (N, H).
void lstm_cell_backward(const float* gh, const float* gc, const float* gates, const float* c, const float* c_new,
                        float* ggates, float* gc_old, long N, long H);
// gi, gh (N, 3H) input and recurrent parts of r, z, n; h, h_new (N, H).
void gru_cell(const float* gi, const float* gh, const float* h, float* h_new, long N, long H);
void gru_cell_backward(const float* g, const float* gi, const float* gh, const float* h, float* ggi, float* ggh,
                       float* gh_old, long N, long H);

}  // namespace weft
