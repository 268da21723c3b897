// Max and average pooling of images that lie channels last, and their gradients. A thread takes VECTOR channels of one
// pixel of what it writes; gradients are gathered, every pixel from the windows that cover it, so sums have one order
// (that of the taps) and nothing is added by atomics. Memory bound: 16 bytes per access where channels allow it.
//
// Defines:
//   TYPE   element type of images;   ACCUMULATE   type of sums: float, or double where TYPE is
//   TAP    uint8_t, or int32_t for windows of more than 256 pixels
//   VECTOR channels of a thread where they divide the channels
#include "common.cuh"

constexpr int THREADS = 256;  // asking for one block per multiprocessor keeps ptxas from spilling to save registers

// python/weft/backends/gpu/pool.py packs the same. A tap is one position in the window, counted in C order.
struct Pooling {
  long long size;                   // threads with work: pixels written, times vectors of channels
  Division vectors, columns, rows;  // of what is written: channels / width of a vector, W, H
  int channels, width;              // width of a vector: VECTOR or 1
  int H, W, OH, OW;                 // image and windows
  int KH, KW, sh, sw, dh, dw, top, left;
  int everything;  // of means: whether padding counts

  // How many pixels the mean of window (y, x) divides by; at least 1.
  DEVICE_INLINE int count(int y, int x) const {
    if (everything) return KH * KW;
    const int above = y * sh - top, before = x * sw - left;
    const int rows_in = (above + KH < H ? above + KH : H) - (above > 0 ? above : 0);
    const int columns_in = (before + KW < W ? before + KW : W) - (before > 0 ? before : 0);
    return rows_in > 0 && columns_in > 0 ? rows_in * columns_in : 1;
  }
};

struct Place {
  long long image;
  int y, x, channel;
};

DEVICE_INLINE Place place_of(long long i, const Pooling& p) {
  if (p.size < 1LL << 31) {
    const unsigned pixel = p.vectors.quotient(unsigned(i)), line = p.columns.quotient(pixel);
    const unsigned image = p.rows.quotient(line);
    return {image, int(line - image * p.rows.divisor), int(pixel - line * p.columns.divisor),
            int(unsigned(i) - pixel * p.vectors.divisor) * p.width};
  }
  const long long pixel = i / p.vectors.divisor, line = pixel / p.columns.divisor, image = line / p.rows.divisor;
  return {image, int(line - image * p.rows.divisor), int(pixel - line * p.columns.divisor),
          int(i - pixel * p.vectors.divisor) * p.width};
}

// Where pixel (y, x) of an image of `rows` by `columns` lies, and `channel` of it.
DEVICE_INLINE long long offset(const Pooling& p, const Place& at, int rows, int columns, int y, int x) {
  return ((at.image * rows + y) * columns + x) * p.channels + at.channel;
}

template <class T, int N>
DEVICE_INLINE Vector<T, N> load(const T* from) {
  return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <class T, int N>
DEVICE_INLINE void store(T* to, const Vector<T, N>& values) {
  *reinterpret_cast<Vector<T, N>*>(to) = values;
}

// f(tap, y, x) for the pixels of window (oy, ox) that lie in the image, in the order of taps.
template <class F>
DEVICE_INLINE void each_pixel(const Pooling& p, int oy, int ox, F f) {
  for (int a = 0; a < p.KH; a++) {
    const int y = oy * p.sh - p.top + a * p.dh;
    if (y < 0 || y >= p.H) continue;
    for (int b = 0; b < p.KW; b++) {
      const int x = ox * p.sw - p.left + b * p.dw;
      if (x >= 0 && x < p.W) f(a * p.KW + b, y, x);
    }
  }
}

// f(tap, oy, ox) for the windows that cover pixel (y, x), by which tap, in the order of taps.
template <class F>
DEVICE_INLINE void each_window(const Pooling& p, int y, int x, F f) {
  const int below = y + p.top, right = x + p.left;
  const int last_y = below / p.sh < p.OH ? below / p.sh : p.OH - 1;
  const int last_x = right / p.sw < p.OW ? right / p.sw : p.OW - 1;
  for (int oy = last_y; oy >= 0; oy--) {
    const int down = below - oy * p.sh, a = down / p.dh;
    if (a >= p.KH) break;
    if (a * p.dh != down) continue;
    for (int ox = last_x; ox >= 0; ox--) {
      const int along = right - ox * p.sw, b = along / p.dw;
      if (b >= p.KW) break;
      if (b * p.dw == along) f(a * p.KW + b, oy, ox);
    }
  }
}

// The largest of each window: the first of equal ones, the last NaN.
template <int N>
DEVICE_INLINE void largest(TYPE* out, TAP* taps, const TYPE* x, const Pooling& p, const Place& at) {
  Vector<TYPE, N> best;
  Vector<TAP, N> tap;
#pragma unroll
  for (int v = 0; v < N; v++) best.at[v] = TYPE(-INFINITY), tap.at[v] = 0;
  bool none = true;
  each_pixel(p, at.y, at.x, [&](int t, int y, int column) {
    const Vector<TYPE, N> values = load<TYPE, N>(x + offset(p, at, p.H, p.W, y, column));
#pragma unroll
    for (int v = 0; v < N; v++) {
      const TYPE value = values.at[v];
      if (none || value > best.at[v] || value != value) best.at[v] = value, tap.at[v] = TAP(t);
    }
    none = false;
  });
  const long long to = offset(p, at, p.OH, p.OW, at.y, at.x);
  store(out + to, best);
  store(taps + to, tap);
}

template <int N>
DEVICE_INLINE void largest_backward(TYPE* out, const TYPE* g, const TAP* taps, const Pooling& p, const Place& at) {
  ACCUMULATE sum[N] = {};
  each_window(p, at.y, at.x, [&](int t, int y, int x) {
    const long long from = offset(p, at, p.OH, p.OW, y, x);
    const Vector<TAP, N> tap = load<TAP, N>(taps + from);
    const Vector<TYPE, N> values = load<TYPE, N>(g + from);
#pragma unroll
    for (int v = 0; v < N; v++)
      if (int(tap.at[v]) == t) sum[v] += convert<ACCUMULATE>(values.at[v]);
  });
  Vector<TYPE, N> result;
#pragma unroll
  for (int v = 0; v < N; v++) result.at[v] = convert<TYPE>(sum[v]);
  store(out + offset(p, at, p.H, p.W, at.y, at.x), result);
}

template <int N>
DEVICE_INLINE void mean(TYPE* out, const TYPE* x, const Pooling& p, const Place& at) {
  ACCUMULATE sum[N] = {};
  each_pixel(p, at.y, at.x, [&](int, int y, int column) {
    const Vector<TYPE, N> values = load<TYPE, N>(x + offset(p, at, p.H, p.W, y, column));
#pragma unroll
    for (int v = 0; v < N; v++) sum[v] += convert<ACCUMULATE>(values.at[v]);
  });
  const ACCUMULATE count = ACCUMULATE(p.count(at.y, at.x));
  Vector<TYPE, N> result;
#pragma unroll
  for (int v = 0; v < N; v++) result.at[v] = convert<TYPE>(sum[v] / count);
  store(out + offset(p, at, p.OH, p.OW, at.y, at.x), result);
}

template <int N>
DEVICE_INLINE void mean_backward(TYPE* out, const TYPE* g, const Pooling& p, const Place& at) {
  ACCUMULATE sum[N] = {};
  each_window(p, at.y, at.x, [&](int, int y, int x) {
    const Vector<TYPE, N> values = load<TYPE, N>(g + offset(p, at, p.OH, p.OW, y, x));
    const ACCUMULATE count = ACCUMULATE(p.count(y, x));
#pragma unroll
    for (int v = 0; v < N; v++) sum[v] += convert<ACCUMULATE>(values.at[v]) / count;
  });
  Vector<TYPE, N> result;
#pragma unroll
  for (int v = 0; v < N; v++) result.at[v] = convert<TYPE>(sum[v]);
  store(out + offset(p, at, p.H, p.W, at.y, at.x), result);
}

// f(place) for every thread's vector of channels, in turns where there are more than threads.
template <class F>
DEVICE_INLINE void each(const Pooling& p, F f) {
  const long long step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < p.size; i += step) f(place_of(i, p));
}

// x (N, H, W, C) -> out, taps (N, OH, OW, C)
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    max_pool(TYPE* out, TAP* taps, const TYPE* x, const Pooling p) {
  if (p.width == VECTOR)
    each(p, [&](const Place& at) { largest<VECTOR>(out, taps, x, p, at); });
  else
    each(p, [&](const Place& at) { largest<1>(out, taps, x, p, at); });
}
EXPORT_KERNEL(max_pool)

// g, taps (N, OH, OW, C) -> out (N, H, W, C)
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    max_pool_backward(TYPE* out, const TYPE* g, const TAP* taps, const Pooling p) {
  if (p.width == VECTOR)
    each(p, [&](const Place& at) { largest_backward<VECTOR>(out, g, taps, p, at); });
  else
    each(p, [&](const Place& at) { largest_backward<1>(out, g, taps, p, at); });
}
EXPORT_KERNEL(max_pool_backward)

// x (N, H, W, C) -> out (N, OH, OW, C)
extern "C" __global__ void __launch_bounds__(THREADS, 1) mean_pool(TYPE* out, const TYPE* x, const Pooling p) {
  if (p.width == VECTOR)
    each(p, [&](const Place& at) { mean<VECTOR>(out, x, p, at); });
  else
    each(p, [&](const Place& at) { mean<1>(out, x, p, at); });
}
EXPORT_KERNEL(mean_pool)

// g (N, OH, OW, C) -> out (N, H, W, C)
extern "C" __global__ void __launch_bounds__(THREADS, 1) mean_pool_backward(TYPE* out, const TYPE* g, const Pooling p) {
  if (p.width == VECTOR)
    each(p, [&](const Place& at) { mean_backward<VECTOR>(out, g, p, at); });
  else
    each(p, [&](const Place& at) { mean_backward<1>(out, g, p, at); });
}
EXPORT_KERNEL(mean_pool_backward)
