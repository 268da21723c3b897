// Convolutions with one channel and one output per group, and their gradients: each channel alone, so there is nothing
// for a matrix product to share, and memory bounds them. Images (N, H, W, C); filters (KH, KW, C).
//
// Defines: TYPE; VECTOR, the channels of a thread: they divide C, or are 1; those of conv/geometry.cuh and epilogue.cuh.
#include "conv/geometry.cuh"

constexpr int THREADS = 256;
constexpr int RUN = 4;  // pixels of a row that a thread computes: they share what it reads of the filters

template <class To>
DEVICE_INLINE void load(To (&x)[VECTOR], const TYPE* from) {
  const Pack<TYPE, VECTOR> values = *reinterpret_cast<const Pack<TYPE, VECTOR>*>(from);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) x[v] = To(values.at[v]);
}

// forward and input_grad: a thread has VECTOR channels of RUN neighbouring pixels. blockIdx.y is the phase.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_depthwise(const TYPE* image, const TYPE* filters, OUT* out, const BIAS_TYPE* bias, const Problem problem,
                   const Geometry geometry) {
  const int phase_h = blockIdx.y / geometry.width.stride, phase_w = blockIdx.y % geometry.width.stride;
  const Windows windows(geometry, phase_h, phase_w);
  const int channels = problem.n;
  const unsigned vectors = channels / VECTOR, runs = (windows.w.rows + RUN - 1) / RUN;
  const unsigned thread = blockIdx.x * THREADS + threadIdx.x, run = thread / vectors;
  const int channel = thread % vectors * VECTOR, j = run % runs * RUN;
  const unsigned line = run / runs;
  const int i = line % windows.h.rows, n = line / windows.h.rows;
  if (n >= geometry.images) return;
  const Window window(windows, n, i, j);

  COMPUTE sums[RUN][VECTOR] = {};
  for (int a = 0; a < windows.h.count; a++) {
    const int h = window.h + a * windows.h.spacing;
    if (unsigned(h) >= unsigned(windows.h.size)) continue;
    const TYPE* row = image + ((long long)(n)*windows.h.size + h) * windows.w.size * channels + channel;
    const TYPE* taps = filters +
                       ((windows.h.first + a * windows.h.step) * geometry.width.kernel + windows.w.first) * channels +
                       channel;
    for (int b = 0; b < windows.w.count; b++) {
      COMPUTE y[VECTOR];
      load(y, taps + b * windows.w.step * channels);
#pragma unroll
      for (int r = 0; r < RUN; r++) {
        const int w = window.w + r * windows.w.stride + b * windows.w.spacing;
        if (unsigned(w) >= unsigned(windows.w.size)) continue;
        COMPUTE x[VECTOR];
        load(x, row + (long long)(w)*channels);
#pragma unroll
        for (int v = 0; v < VECTOR; v++) sums[r][v] += x[v] * y[v];
      }
    }
  }

  const Epilogue epilogue(problem, out, bias, nullptr, nullptr, 0, 0);
  const bool phases = INPUT_GRAD;
  const int stride_h = phases ? geometry.height.stride : 1, stride_w = phases ? geometry.width.stride : 1;
  const int width = phases ? geometry.width.image : windows.w.rows;
  const int height = phases ? geometry.height.image : windows.h.rows;
  const int first = (n * height + i * stride_h + phase_h) * width + j * stride_w + phase_w;
#pragma unroll
  for (int r = 0; r < RUN; r++)
    if (j + r < windows.w.rows) epilogue.apply<VECTOR>(sums[r], first + r * stride_w, channel);
}
EXPORT_KERNEL(conv_depthwise)

constexpr int LANES = 32, LINES = THREADS / LANES;  // vectors of channels, pixels at a time
constexpr int TAPS = 4;                             // neighbours in a row of the kernel that a block sums for

// weight_grad: sums (parts, KH, KW, C) over one part of the pixels each, in an order that only sizes decide. blockIdx.y
// is a row of the kernel and TAPS of its columns, blockIdx.z the part.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_depthwise_weight(const TYPE* image, const TYPE* g, COMPUTE* sums, const Geometry geometry, int channels,
                          int pixels, int part) {
  __shared__ COMPUTE scratch[LINES][LANES * VECTOR];
  const Windows windows(geometry, 0, 0);
  const int lane = threadIdx.x % LANES, line = threadIdx.x / LANES;
  const int channel = (blockIdx.x * LANES + lane) * VECTOR;
  const int pieces = (windows.w.count + TAPS - 1) / TAPS, a = blockIdx.y / pieces, b = blockIdx.y % pieces * TAPS;
  const int end = min(pixels, int(blockIdx.z + 1) * part);

  COMPUTE total[TAPS][VECTOR] = {};
  for (int p = blockIdx.z * part + line; channel < channels && p < end; p += LINES) {
    const Window window = Pixel(geometry, p).window(windows);
    const int h = window.h + a * windows.h.spacing;
    if (unsigned(h) >= unsigned(windows.h.size)) continue;
    COMPUTE y[VECTOR];
    load(y, g + (long long)(p)*channels + channel);
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
      const int w = window.w + (b + t) * windows.w.spacing;
      if (b + t >= windows.w.count || unsigned(w) >= unsigned(windows.w.size)) continue;
      const int step = a * windows.h.spacing * windows.w.size + (b + t) * windows.w.spacing;
      COMPUTE x[VECTOR];
      load(x, image + (long long)(window.pixel + step) * channels + channel);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) total[t][v] += x[v] * y[v];
    }
  }
#pragma unroll
  for (int t = 0; t < TAPS; t++) {
    __syncthreads();  // the sums of the tap before are read
#pragma unroll
    for (int v = 0; v < VECTOR; v++) scratch[line][lane * VECTOR + v] = total[t][v];
    __syncthreads();
    const int mine = blockIdx.x * LANES * VECTOR + threadIdx.x;
    if (threadIdx.x >= LANES * VECTOR || mine >= channels || b + t >= windows.w.count) continue;
    COMPUTE sum = scratch[0][threadIdx.x];
#pragma unroll
    for (int l = 1; l < LINES; l++) sum += scratch[l][threadIdx.x];
    const long long tap = (blockIdx.z * windows.h.count + a) * windows.w.count + b + t;
    sums[tap * channels + mine] = sum;
  }
}
EXPORT_KERNEL(conv_depthwise_weight)
