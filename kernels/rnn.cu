// The gates of LSTM and GRU after their matrix products, forwards and backwards: one launch is one step of a batch.
// Gates lie side by side in a row, in PyTorch's order. Activations are computed again in the backward pass, except in
// an LSTM's layer, which keeps them in place of what they were made of (`active`).
//
//   lstm_cell, gru_cell, lstm_cell_backward, gru_cell_backward
//
// Memory bound: a thread takes VECTOR neighbouring units of a row where rows divide into such, else one.
//
// Defines: TYPE    type of gates, states and outputs, 16 bits of which are computed in float;
//          STATE   type of what goes from step to step beside them, wider than TYPE in a layer of 16 bits;
//          WIDE    1: 64-bit indices.
#include "expressions.cuh"

constexpr int THREADS = 128, VECTOR = 4;
constexpr int BLOCKS = sizeof(TYPE) == 8;  // per multiprocessor at least: left to itself, ptxas spills float64
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;
using Real = Wide<TYPE>;

// `Step` of python/weft/backends/gpu/rnn.py packs the same.
struct Cells {
  long long count;   // threads with work: rows times those per row
  int hidden;        // H
  int vectors;       // 1: a thread has VECTOR units
  Division per_row;  // threads
  int active;        // 1: the gates of an LSTM are kept, and read, after their activations

  // The first unit of this thread in an array (rows, H), or no unit at all; where it lies in one (rows, GATES * H).
  template <int N>
  DEVICE_INLINE bool locate(Index& at) const {
    at = Index(blockIdx.x) * THREADS + threadIdx.x;
    if (at >= Index(count)) return false;
    at *= N;
    return true;
  }
  template <int N, int GATES>
  DEVICE_INLINE Index gate(Index at) const {
    return at + per_row.quotient(at / N) * Index(hidden) * (GATES - 1);
  }
};

template <int N, class T>
DEVICE_INLINE void load(Real (&x)[N], const T* from) {
  const Vector<T, N> values = *reinterpret_cast<const Vector<T, N>*>(from);
#pragma unroll
  for (int v = 0; v < N; v++) x[v] = convert<Real>(values.at[v]);
}

// Adds what may not be there.
template <int N, class T>
DEVICE_INLINE void accumulate(Real (&x)[N], const T* from, Index at) {
  if (from == nullptr) return;
  const Vector<T, N> values = *reinterpret_cast<const Vector<T, N>*>(from + at);
#pragma unroll
  for (int v = 0; v < N; v++) x[v] += convert<Real>(values.at[v]);
}

template <int N, class T>
DEVICE_INLINE void store(T* to, const Real (&x)[N]) {
  Vector<T, N> values;
#pragma unroll
  for (int v = 0; v < N; v++) values.at[v] = convert<T>(x[v]);
  *reinterpret_cast<Vector<T, N>*>(to) = values;
}

// The gates i, f, g, o (or r, z, n) of one unit after another: x[gate][v].
template <int GATES, int N>
DEVICE_INLINE void load_gates(Real (&x)[GATES][N], const TYPE* gates, Index at, int hidden) {
#pragma unroll
  for (int k = 0; k < GATES; k++) load(x[k], gates + at + Index(k) * hidden);
}

template <int GATES, int N>
DEVICE_INLINE void store_gates(TYPE* gates, Index at, int hidden, const Real (&x)[GATES][N]) {
#pragma unroll
  for (int k = 0; k < GATES; k++) store(gates + at + Index(k) * hidden, x[k]);
}

template <int N>
DEVICE_INLINE void activate_lstm(Real (&x)[4][N]) {
#pragma unroll
  for (int v = 0; v < N; v++) {
    x[0][v] = sigmoid(x[0][v]), x[1][v] = sigmoid(x[1][v]);
    x[2][v] = tanh(x[2][v]), x[3][v] = sigmoid(x[3][v]);
  }
}

// -- LSTM: Hochreiter and Schmidhuber, "Long short-term memory" (1997), with the forget gate of Gers et al. (2000) -----

template <int N>
DEVICE_INLINE void lstm(TYPE* h, TYPE* c_new, STATE* carry, TYPE* gates, const STATE* c, const Cells& cells) {
  Index at;
  if (!cells.locate<N>(at)) return;
  const Index gate = cells.gate<N, 4>(at);
  Real x[4][N], state[N], out[N];
  load_gates(x, gates, gate, cells.hidden);
  load(state, c + at);
  activate_lstm(x);
  if (cells.active) store_gates(gates, gate, cells.hidden, x);
#pragma unroll
  for (int v = 0; v < N; v++) {
    state[v] = x[1][v] * state[v] + x[0][v] * x[2][v];
    out[v] = x[3][v] * tanh(state[v]);
  }
  store(h + at, out);
  store(c_new + at, state);
  if (carry != nullptr) store(carry + at, state);
}

// gates (rows, 4H), c (rows, H) -> h, c_new (rows, H), and c_new in `carry`, which may be c, or null.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    lstm_cell(TYPE* h, TYPE* c_new, STATE* carry, TYPE* gates, const STATE* c, const Cells cells) {
  if (cells.vectors)
    lstm<VECTOR>(h, c_new, carry, gates, c, cells);
  else
    lstm<1>(h, c_new, carry, gates, c, cells);
}
EXPORT_KERNEL(lstm_cell)

template <int N>
DEVICE_INLINE void lstm_backward(TYPE* g_gates, STATE* g_c, const TYPE* gates, const TYPE* c, const TYPE* c_new,
                                 const TYPE* gy, const STATE* gh, const STATE* gc, const Cells& cells) {
  Index at;
  if (!cells.locate<N>(at)) return;
  const Index gate = cells.gate<N, 4>(at);
  Real x[4][N], before[N], after[N], into_h[N] = {}, into_c[N] = {};
  load_gates(x, gates, gate, cells.hidden);
  load(before, c + at);
  load(after, c_new + at);
  accumulate(into_h, gy, at);
  accumulate(into_h, gh, at);
  accumulate(into_c, gc, at);
  if (!cells.active) activate_lstm(x);
#pragma unroll
  for (int v = 0; v < N; v++) {
    const Real i = x[0][v], f = x[1][v], g = x[2][v], o = x[3][v], t = tanh(after[v]);
    into_c[v] += into_h[v] * o * (1 - t * t);
    x[0][v] = into_c[v] * g * i * (1 - i);
    x[1][v] = into_c[v] * before[v] * f * (1 - f);
    x[2][v] = into_c[v] * i * (1 - g * g);
    x[3][v] = into_h[v] * t * o * (1 - o);
    into_c[v] *= f;
  }
  store_gates(g_gates, gate, cells.hidden, x);
  store(g_c + at, into_c);
}

// Gradients gy + gh of h and gc of c_new, each of which may be null -> those of gates and, in g_c, of c. g_c may be gc.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    lstm_cell_backward(TYPE* g_gates, STATE* g_c, const TYPE* gates, const TYPE* c, const TYPE* c_new, const TYPE* gy,
                       const STATE* gh, const STATE* gc, const Cells cells) {
  if (cells.vectors)
    lstm_backward<VECTOR>(g_gates, g_c, gates, c, c_new, gy, gh, gc, cells);
  else
    lstm_backward<1>(g_gates, g_c, gates, c, c_new, gy, gh, gc, cells);
}
EXPORT_KERNEL(lstm_cell_backward)

// -- GRU: Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014), reset after the product ------

// r, z, n of the input's part `x` and the recurrent part `y` of the gates, in x.
template <int N>
DEVICE_INLINE void activate_gru(Real (&x)[3][N], const Real (&y)[3][N]) {
#pragma unroll
  for (int v = 0; v < N; v++) {
    x[0][v] = sigmoid(x[0][v] + y[0][v]);
    x[1][v] = sigmoid(x[1][v] + y[1][v]);
    x[2][v] = tanh(x[2][v] + x[0][v] * y[2][v]);
  }
}

template <int N>
DEVICE_INLINE void gru(TYPE* h_new, STATE* carry, const TYPE* gi, const TYPE* gh, const STATE* h, const Cells& cells) {
  Index at;
  if (!cells.locate<N>(at)) return;
  const Index gate = cells.gate<N, 3>(at);
  Real x[3][N], y[3][N], state[N];
  load_gates(x, gi, gate, cells.hidden);
  load_gates(y, gh, gate, cells.hidden);
  load(state, h + at);
  activate_gru(x, y);
#pragma unroll
  for (int v = 0; v < N; v++) state[v] = x[2][v] + x[1][v] * (state[v] - x[2][v]);
  store(h_new + at, state);
  if (carry != nullptr) store(carry + at, state);
}

// gi, gh (rows, 3H) input and recurrent part, h (rows, H) -> h_new (rows, H), and in `carry`, which may be h, or null.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    gru_cell(TYPE* h_new, STATE* carry, const TYPE* gi, const TYPE* gh, const STATE* h, const Cells cells) {
  if (cells.vectors)
    gru<VECTOR>(h_new, carry, gi, gh, h, cells);
  else
    gru<1>(h_new, carry, gi, gh, h, cells);
}
EXPORT_KERNEL(gru_cell)

template <int N>
DEVICE_INLINE void gru_backward(TYPE* g_gi, TYPE* g_gh, STATE* g_h, const TYPE* gi, const TYPE* gh, const TYPE* h,
                                const TYPE* gy, const STATE* g, const Cells& cells) {
  Index at;
  if (!cells.locate<N>(at)) return;
  const Index gate = cells.gate<N, 3>(at);
  Real x[3][N], y[3][N], before[N], into[N] = {};
  load_gates(x, gi, gate, cells.hidden);
  load_gates(y, gh, gate, cells.hidden);
  load(before, h + at);
  accumulate(into, gy, at);
  accumulate(into, g, at);
  activate_gru(x, y);
#pragma unroll
  for (int v = 0; v < N; v++) {
    const Real r = x[0][v], z = x[1][v], n = x[2][v], recurrent = y[2][v];
    const Real into_n = into[v] * (1 - z) * (1 - n * n);
    x[0][v] = y[0][v] = into_n * recurrent * r * (1 - r);
    x[1][v] = y[1][v] = into[v] * (before[v] - n) * z * (1 - z);
    x[2][v] = into_n;
    y[2][v] = into_n * r;
    into[v] *= z;
  }
  store_gates(g_gi, gate, cells.hidden, x);
  store_gates(g_gh, gate, cells.hidden, y);
  store(g_h + at, into);
}

// Gradients gy + g of h_new, each of which may be null -> those of gi, gh and, in g_h, of h where it enters directly.
// g_h may be g.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    gru_cell_backward(TYPE* g_gi, TYPE* g_gh, STATE* g_h, const TYPE* gi, const TYPE* gh, const TYPE* h, const TYPE* gy,
                      const STATE* g, const Cells cells) {
  if (cells.vectors)
    gru_backward<VECTOR>(g_gi, g_gh, g_h, gi, gh, h, gy, g, cells);
  else
    gru_backward<1>(g_gi, g_gh, g_h, gi, gh, h, gy, g, cells);
}
EXPORT_KERNEL(gru_cell_backward)
