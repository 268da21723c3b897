// x * f(gate) and its two gradients, f an activation: gated linear units. Dauphin et al., "Language modeling with gated
// convolutional networks" (2017); Shazeer, "GLU variants improve transformer" (2020). Operands may lie with strides, as
// the halves of one array do. Memory bound: vectors of 16 bytes where every operand lies so.
//
// Defines:
//   TYPE         element type;   ACTIVATION   Sigmoid | Silu | Gelu | GeluTanh | Relu
//   VECTOR       elements of 16 bytes;   WIDE   1: 64-bit indices
#include "expressions.cuh"

constexpr int THREADS = 256;
using Real = Wide<TYPE>;
using Index = typename Choose<WIDE, unsigned long long, unsigned>::type;

// An activation has its value, and slope(g, b), g times its derivative.
struct Sigmoid {
  static DEVICE_INLINE Real value(Real b) { return sigmoid(b); }
  static DEVICE_INLINE Real slope(Real g, Real b) {
    const Real s = sigmoid(b);
    return g * s * (Real(1) - s);
  }
};
struct Silu {
  static DEVICE_INLINE Real value(Real b) { return b * sigmoid(b); }
  static DEVICE_INLINE Real slope(Real g, Real b) { return silu_backward(g, b); }
};
struct Gelu {
  static DEVICE_INLINE Real value(Real b) { return gelu(b); }
  static DEVICE_INLINE Real slope(Real g, Real b) { return gelu_backward(g, b); }
};
struct GeluTanh {
  static DEVICE_INLINE Real value(Real b) { return gelu_tanh(b); }
  static DEVICE_INLINE Real slope(Real g, Real b) { return gelu_tanh_backward(g, b); }
};
struct Relu {
  static DEVICE_INLINE Real value(Real b) { return larger(b, Real(0)); }
  static DEVICE_INLINE Real slope(Real g, Real b) { return b <= Real(0) ? Real(0) : g; }
};

template <int N>
DEVICE_INLINE Vector<TYPE, N> load(const TYPE* from) {
  return *reinterpret_cast<const Vector<TYPE, N>*>(from);
}
template <int N>
DEVICE_INLINE void store(TYPE* to, const Vector<TYPE, N>& values) {
  *reinterpret_cast<Vector<TYPE, N>*>(to) = values;
}

// `Walk.packed` of python/weft/backends/gpu/walk.py: `size` vectors, and where they lie in each operand.
template <int OPERANDS>
struct Operands {
  long long size;
  Layout<OPERANDS> layout;
};

// f(offsets) for each vector that this thread takes.
template <int OPERANDS, class F>
DEVICE_INLINE void each(const Operands<OPERANDS>& operands, F f) {
  const Index size = Index(operands.size), step = Index(gridDim.x) * THREADS;
  for (Index i = Index(blockIdx.x) * THREADS + threadIdx.x; i < size; i += step) {
    long long at[OPERANDS];
    operands.layout.locate(i, at);
    f(at);
  }
}

template <int N>
DEVICE_INLINE void forward(TYPE* out, const TYPE* x, const TYPE* gate, const Operands<3>& operands) {
  each(operands, [&](const long long* at) {
    const Vector<TYPE, N> a = load<N>(x + at[1]), b = load<N>(gate + at[2]);
    Vector<TYPE, N> result;
#pragma unroll
    for (int v = 0; v < N; v++)
      result.at[v] = convert<TYPE>(convert<Real>(a.at[v]) * ACTIVATION::value(convert<Real>(b.at[v])));
    store<N>(out + at[0], result);
  });
}

template <int N>
DEVICE_INLINE void backward(TYPE* x_grad, TYPE* gate_grad, const TYPE* g, const TYPE* x, const TYPE* gate,
                            const Operands<5>& operands) {
  each(operands, [&](const long long* at) {
    const Vector<TYPE, N> c = load<N>(g + at[2]), a = load<N>(x + at[3]), b = load<N>(gate + at[4]);
    Vector<TYPE, N> of_x, of_gate;
#pragma unroll
    for (int v = 0; v < N; v++) {
      const Real up = convert<Real>(c.at[v]), at_gate = convert<Real>(b.at[v]);
      of_x.at[v] = convert<TYPE>(up * ACTIVATION::value(at_gate));
      of_gate.at[v] = convert<TYPE>(ACTIVATION::slope(up * convert<Real>(a.at[v]), at_gate));
    }
    store<N>(x_grad + at[0], of_x);
    store<N>(gate_grad + at[1], of_gate);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gated(TYPE* out, const TYPE* x, const TYPE* gate, const Operands<3> operands, int vectors) {
  if (vectors)
    forward<VECTOR>(out, x, gate, operands);
  else
    forward<1>(out, x, gate, operands);
}
EXPORT_KERNEL(gated)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gated_backward(TYPE* x_grad, TYPE* gate_grad, const TYPE* g, const TYPE* x, const TYPE* gate,
                   const Operands<5> operands, int vectors) {
  if (vectors)
    backward<VECTOR>(x_grad, gate_grad, g, x, gate, operands);
  else
    backward<1>(x_grad, gate_grad, g, x, gate, operands);
}
EXPORT_KERNEL(gated_backward)
