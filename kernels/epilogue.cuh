// What a GEMM does with a finished sum on its way to memory, and the description of the product that every GEMM takes.
//
//   out = activation(alpha * sum + beta * out + bias) + residual,   aux = the activation's argument
//
// Compile-time options, given as defines:
//   COMPUTE     type of the sums: float, double, unsigned, uint64_t
//   OUT         type of out, aux and residual
//   BIAS        none | column (one per column of out) | row;   BIAS_TYPE its type
//   ACTIVATION  none | relu | gelu (by erf) | gelu_tanh | silu
//   BETA, AUX, RESIDUAL   0 | 1: whether out is read, aux written, residual read
#pragma once
#include "ptx.cuh"

enum class Activation { none, relu, gelu, gelu_tanh, silu };
enum class Bias { none, column, row };

// A product as the host describes it; `Problem` of python/weft/backends/gpu/gemm_product.py has the same fields.
// A matrix is row-major with `stride` elements between rows of its storage; op(A) and op(B) are the kernel's defines.
// Product number i of a batch has indices (i / inner, i % inner), each with its own stride (0 where broadcast).
struct Problem {
  long long a_stride, a_outer, a_inner;
  long long b_stride, b_outer, b_inner;
  long long out_stride, out_outer, out_inner;
  long long aux_stride, aux_outer, aux_inner;
  long long residual_stride, residual_outer, residual_inner;
  long long split_stride;  // elements from the sums of one part of K to those of the next
  double alpha, beta;
  int m, n, k;
  int batch, inner;
  int splits, k_split;   // K is cut into `splits` parts of `k_split` (the last may be shorter)
  int tiles_m, tiles_n;  // tiles of out
  int aligned;           // 1: every row of out, aux, residual and bias starts at a multiple of 16 bytes
};

// Which tile of which product a block owns. The grid is one line of blocks, because its y and z end at 65,535.
struct TileIndex {
  int m, n, split, outer, inner;
};

// Tiles go in bands of eight tile rows, down each band's columns: blocks that run together share rows of A and columns
// of B, which then come from L2.
DEVICE_INLINE TileIndex tile_index(const Problem& p, unsigned block) {
  constexpr int BAND = 8;
  const unsigned tiles = unsigned(p.tiles_m) * unsigned(p.tiles_n);
  const unsigned product = block / tiles, tile = block % tiles;
  const unsigned batch = product / p.splits;
  const unsigned band = tile / (BAND * p.tiles_n), in_band = tile % (BAND * p.tiles_n);
  const unsigned first = band * BAND, height = min(p.tiles_m - int(first), BAND);
  TileIndex at;
  at.m = first + in_band % height;
  at.n = in_band / height;
  at.split = product % p.splits;
  at.outer = batch / p.inner;
  at.inner = batch % p.inner;
  return at;
}

// V elements that lie together; accesses are of 16 bytes where V fills them.
template <class T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
  T at[V];
};

DEVICE_INLINE float exponential(float x) { return expf(x); }
DEVICE_INLINE double exponential(double x) { return exp(x); }
DEVICE_INLINE float hyperbolic_tangent(float x) { return tanhf(x); }
DEVICE_INLINE double hyperbolic_tangent(double x) { return tanh(x); }
DEVICE_INLINE float error_function(float x) { return erff(x); }
DEVICE_INLINE double error_function(double x) { return erf(x); }

// Each keeps NaN. GELU: Hendrycks and Gimpel, 2016; SiLU: Elfwing et al., 2017.
template <Activation A, class T>
DEVICE_INLINE T activate(T x) {
  if constexpr (A == Activation::relu) {
    return x < T(0) ? T(0) : x;
  } else if constexpr (A == Activation::gelu) {
    return T(0.5) * x * (T(1) + error_function(x * T(0.70710678118654752)));
  } else if constexpr (A == Activation::gelu_tanh) {
    return T(0.5) * x * (T(1) + hyperbolic_tangent(T(0.79788456080286536) * (x + T(0.044715) * x * x * x)));
  } else if constexpr (A == Activation::silu) {
    return x / (T(1) + exponential(-x));
  } else {
    return x;
  }
}

// The epilogue of one product of the batch. `apply` takes V neighbouring sums of a row, from (row, column) on; those
// that lie outside of out are dropped, so that tiles may be ragged. column must be a multiple of V.
struct Epilogue {
  static constexpr Activation ACT = Activation::ACTIVATION;
  static constexpr Bias BIAS_BY = Bias::BIAS;

  OUT* out;
  OUT* aux;
  const OUT* residual;
  const BIAS_TYPE* bias;
  long long out_stride, aux_stride, residual_stride;
  COMPUTE alpha, beta;
  int m, n;
  bool aligned;

  DEVICE_INLINE Epilogue(const Problem& p, OUT* out, const BIAS_TYPE* bias, OUT* aux, const OUT* residual, int outer,
                         int inner)
      : out(out + outer * p.out_outer + inner * p.out_inner),
        aux(aux + outer * p.aux_outer + inner * p.aux_inner),
        residual(residual + outer * p.residual_outer + inner * p.residual_inner),
        bias(bias),
        out_stride(p.out_stride),
        aux_stride(p.aux_stride),
        residual_stride(p.residual_stride),
        alpha(COMPUTE(p.alpha)),
        beta(COMPUTE(p.beta)),
        m(p.m),
        n(p.n),
        aligned(p.aligned) {}

  // Reads V elements of a row, those beyond column n as zero.
  template <int V, class T>
  DEVICE_INLINE Pack<T, V> read(const T* row_start, int column, bool whole) const {
    if (whole) return *reinterpret_cast<const Pack<T, V>*>(row_start + column);
    Pack<T, V> x;
#pragma unroll
    for (int v = 0; v < V; v++) x.at[v] = column + v < n ? row_start[column + v] : T(0);
    return x;
  }

  template <int V>
  DEVICE_INLINE void write(OUT* row_start, int column, bool whole, const COMPUTE (&x)[V]) const {
    Pack<OUT, V> y;
#pragma unroll
    for (int v = 0; v < V; v++) y.at[v] = OUT(x[v]);
    if (whole) {
      *reinterpret_cast<Pack<OUT, V>*>(row_start + column) = y;
      return;
    }
#pragma unroll
    for (int v = 0; v < V; v++)
      if (column + v < n) row_start[column + v] = y.at[v];
  }

  // Turns the sums x into the values of out at (row, column), row < m; writes aux, leaves out to the caller.
  template <int V>
  DEVICE_INLINE void transform(COMPUTE (&x)[V], int row, int column) const {
    const bool whole = aligned && column + V <= n;
#pragma unroll
    for (int v = 0; v < V; v++) x[v] *= alpha;
    if constexpr (BETA) {
      const Pack<OUT, V> old = read<V>(out + row * out_stride, column, whole);
#pragma unroll
      for (int v = 0; v < V; v++) x[v] += beta * COMPUTE(old.at[v]);
    }
    if constexpr (BIAS_BY == Bias::column) {
      const Pack<BIAS_TYPE, V> b = read<V>(bias, column, whole);
#pragma unroll
      for (int v = 0; v < V; v++) x[v] += COMPUTE(b.at[v]);
    } else if constexpr (BIAS_BY == Bias::row) {
      const COMPUTE b = COMPUTE(bias[row]);
#pragma unroll
      for (int v = 0; v < V; v++) x[v] += b;
    }
    if constexpr (AUX) write<V>(aux + row * aux_stride, column, whole, x);
#pragma unroll
    for (int v = 0; v < V; v++) x[v] = activate<ACT>(x[v]);
    if constexpr (RESIDUAL) {
      const Pack<OUT, V> r = read<V>(residual + row * residual_stride, column, whole);
#pragma unroll
      for (int v = 0; v < V; v++) x[v] += COMPUTE(r.at[v]);
    }
  }

  template <int V>
  DEVICE_INLINE void apply(COMPUTE (&x)[V], int row, int column) const {
    if (row >= m || column >= n) return;
    transform<V>(x, row, column);
    write<V>(out + row * out_stride, column, aligned && column + V <= n, x);
  }
};
