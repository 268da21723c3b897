// Batch norm of channels-last memory, (rows, channels) with all that is not a channel in rows, with a residual added and
// ReLU applied on the way, and its gradients. A thread keeps VECTOR neighbouring channels and walks down the rows of one
// part; what the parts of a channel have found is joined by a second kernel, in an order that the shapes alone decide.
//
//   batch_norm_partials -> batch_norm_moments -> batch_norm_apply
//   batch_norm_backward_partials -> batch_norm_sums -> batch_norm_backward_apply
//
// Defines: TYPE   element type;   PARAMETER   of weight and bias;   VECTOR   channels of an access, dividing their number
#include "common.cuh"

using Real = Wide<TYPE>;
using Pack = Vector<TYPE, VECTOR>;
constexpr int THREADS = 256, GROUP = 8;

// `Walk.pack` of python/weft/backends/gpu/batch_norm.py packs the same.
struct Walk {
  long long rows;
  long long part;  // rows of each of gridDim.y parts
  int channels;
  int across;  // neighbouring threads of a row, a power of two; THREADS / across lines of them walk down
};

// The thread's channels, and its rows: from `row` on, every `step`.
struct Place {
  int channel, line, step;
  long long row, end;

  DEVICE_INLINE Place(const Walk& w) {
    step = THREADS / w.across, line = threadIdx.x / w.across;
    channel = (int(blockIdx.x) * w.across + int(threadIdx.x) % w.across) * VECTOR;
    const long long start = w.part * blockIdx.y, last = start + w.part;
    row = start + line;
    end = channel < w.channels ? (last < w.rows ? last : w.rows) : 0;
  }
};

DEVICE_INLINE Pack load(const TYPE* p) { return *reinterpret_cast<const Pack*>(p); }

// The join of all lines, for line 0: halves are joined with halves.
template <class T, class Join>
DEVICE_INLINE void join_lines(T (&values)[VECTOR], T (*scratch)[THREADS], int across, Join join) {
#pragma unroll
  for (int v = 0; v < VECTOR; v++) scratch[v][threadIdx.x] = values[v];
  for (int half = THREADS / 2; half >= across; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++)
        scratch[v][threadIdx.x] = values[v] = join(values[v], scratch[v][threadIdx.x + half]);
    }
  }
}

// Count, mean and sum of squared deviations of some numbers, joined as Chan, Golub and LeVeque (1979) do: a sum of
// squares less the square of a sum would cancel where the mean is far from zero.
struct Moments {
  Real count, mean, squares;
};

struct JoinMoments {
  DEVICE_INLINE Moments operator()(const Moments& a, const Moments& b) const {
    const Real count = a.count + b.count, difference = b.mean - a.mean;
    const Real part = count == 0 ? Real(0) : b.count / count;
    return {count, a.mean + difference * part, a.squares + b.squares + difference * difference * a.count * part};
  }
};

// Takes in N rows, `stride` elements apart.
template <int N>
DEVICE_INLINE void take(Moments (&moments)[VECTOR], const TYPE* x, long long stride) {
  Pack rows[N];
#pragma unroll
  for (int i = 0; i < N; i++) rows[i] = load(x + i * stride);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    Moments here = {N, 0, 0};
#pragma unroll
    for (int i = 0; i < N; i++) here.mean += Real(rows[i].at[v]);
    here.mean *= Real(1) / N;
#pragma unroll
    for (int i = 0; i < N; i++) here.squares += (Real(rows[i].at[v]) - here.mean) * (Real(rows[i].at[v]) - here.mean);
    moments[v] = JoinMoments()(moments[v], here);
  }
}

// -> partials (2, parts, channels): means and sums of squared deviations of each part's rows
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    batch_norm_partials(void* partials, const TYPE* x, const Walk walk) {
  __shared__ Moments scratch[VECTOR][THREADS];
  const Place here(walk);
  Moments moments[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) moments[v] = {0, 0, 0};
  const long long stride = here.step * (long long)(walk.channels);
  long long row = here.row;
  for (; row + (GROUP - 1) * here.step < here.end; row += GROUP * here.step)
    take<GROUP>(moments, x + row * walk.channels + here.channel, stride);
  for (; row < here.end; row += here.step) take<1>(moments, x + row * walk.channels + here.channel, stride);
  join_lines(moments, scratch, walk.across, JoinMoments());
  if (here.line > 0 || here.channel >= walk.channels) return;
  Real* const means = static_cast<Real*>(partials) + blockIdx.y * (long long)(walk.channels) + here.channel;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    means[v] = moments[v].mean;
    means[gridDim.y * (long long)(walk.channels) + v] = moments[v].squares;
  }
}
EXPORT_KERNEL(batch_norm_partials)

constexpr int ACROSS = 8, LINES = THREADS / ACROSS;  // of the kernels that join parts

template <class T, class Join>
DEVICE_INLINE T join_parts(T value, T* scratch, Join join) {
  scratch[threadIdx.x] = value;
  for (int half = THREADS / 2; half >= ACROSS; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) scratch[threadIdx.x] = value = join(value, scratch[threadIdx.x + half]);
  }
  return value;
}

// mean and biased variance (channels) of all rows, from the partials of `parts` parts
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_moments(void* mean, void* variance, const void* partials, int parts, const Walk walk) {
  __shared__ Moments scratch[THREADS];
  const int channel = int(blockIdx.x) * ACROSS + threadIdx.x % ACROSS;
  const Real* const means = static_cast<const Real*>(partials) + channel;
  const Real* const squares = means + parts * (long long)(walk.channels);
  Moments moments = {0, 0, 0};
#pragma unroll 4
  for (int p = threadIdx.x / ACROSS; p < parts && channel < walk.channels; p += LINES) {
    const long long left = walk.rows - p * walk.part, at = p * (long long)(walk.channels);
    moments = JoinMoments()(moments, {Real(left < walk.part ? left : walk.part), means[at], squares[at]});
  }
  moments = join_parts(moments, scratch, JoinMoments());
  if (threadIdx.x >= ACROSS || channel >= walk.channels) return;
  static_cast<Real*>(mean)[channel] = moments.mean;
  static_cast<Real*>(variance)[channel] = moments.squares / moments.count;
}
EXPORT_KERNEL(batch_norm_moments)

DEVICE_INLINE float inverse_root(float x) { return 1 / sqrtf(x); }
DEVICE_INLINE double inverse_root(double x) { return 1 / sqrt(x); }

// How a thread's channels are normalised.
struct Channels {
  Real mean[VECTOR], rstd[VECTOR], weight[VECTOR];

  DEVICE_INLINE Channels(int channel, const void* means, const void* variances, const PARAMETER* weights, Real eps) {
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      mean[v] = static_cast<const Real*>(means)[channel + v];
      rstd[v] = inverse_root(static_cast<const Real*>(variances)[channel + v] + eps);
      weight[v] = weights ? Real(convert<Wide<PARAMETER>>(weights[channel + v])) : Real(1);
    }
  }
};

// out = activation((x - mean) / sqrt(variance + eps) * weight + bias + residual); bias and residual may be null.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    batch_norm_apply(TYPE* out, const TYPE* x, const TYPE* residual, const void* mean, const void* variance,
                     const PARAMETER* weight, const PARAMETER* bias, int relu, double eps, const Walk walk) {
  const Place here(walk);
  if (here.channel >= walk.channels) return;
  const Channels c(here.channel, mean, variance, weight, Real(eps));
  Real shift[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) shift[v] = bias ? Real(convert<Wide<PARAMETER>>(bias[here.channel + v])) : Real(0);
#pragma unroll 4
  for (long long row = here.row; row < here.end; row += here.step) {
    const long long at = row * walk.channels + here.channel;
    Pack y = load(x + at), r;
    if (residual) r = load(residual + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      Real value = (Real(y.at[v]) - c.mean[v]) * (c.rstd[v] * c.weight[v]) + shift[v];
      if (residual) value += Real(r.at[v]);
      if (relu && value <= 0) value = 0;  // NaN stays
      y.at[v] = convert<TYPE>(value);
    }
    *reinterpret_cast<Pack*>(out + at) = y;
  }
}
EXPORT_KERNEL(batch_norm_apply)

// Sums over rows of the gradient, and of it times the normal values.
struct Pair {
  Real plain, weighted;
};

struct AddPairs {
  DEVICE_INLINE Pair operator()(const Pair& a, const Pair& b) const {
    return {a.plain + b.plain, a.weighted + b.weighted};
  }
};

// What of the gradient g passes the ReLU behind `out`.
DEVICE_INLINE Pack passed(const TYPE* g, const TYPE* out, long long at) {
  Pack value = load(g + at);
  if (out) {
    const Pack y = load(out + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++)
      if (!(Real(y.at[v]) > 0)) value.at[v] = convert<TYPE>(0);
  }
  return value;
}

// -> partials (2, parts, channels); out: the result if it went through a ReLU, else null
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    batch_norm_backward_partials(void* partials, const TYPE* g, const TYPE* x, const TYPE* out, const void* mean,
                                 const void* variance, double eps, const Walk walk) {
  __shared__ Pair scratch[VECTOR][THREADS];
  const Place here(walk);
  Pair sums[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) sums[v] = {0, 0};
  if (here.channel < walk.channels) {
    const Channels c(here.channel, mean, variance, nullptr, Real(eps));
#pragma unroll 4
    for (long long row = here.row; row < here.end; row += here.step) {
      const long long at = row * walk.channels + here.channel;
      const Pack value = passed(g, out, at), input = load(x + at);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        sums[v].plain += Real(value.at[v]);
        sums[v].weighted += Real(value.at[v]) * ((Real(input.at[v]) - c.mean[v]) * c.rstd[v]);
      }
    }
  }
  join_lines(sums, scratch, walk.across, AddPairs());
  if (here.line > 0 || here.channel >= walk.channels) return;
  Real* const plain = static_cast<Real*>(partials) + blockIdx.y * (long long)(walk.channels) + here.channel;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    plain[v] = sums[v].plain;
    plain[gridDim.y * (long long)(walk.channels) + v] = sums[v].weighted;
  }
}
EXPORT_KERNEL(batch_norm_backward_partials)

// The gradients of weight and bias (channels), and the same in full precision: sums (2, channels), of bias, of weight.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_sums(PARAMETER* weight, PARAMETER* bias, void* sums, const void* partials, int parts, int channels) {
  __shared__ Pair scratch[THREADS];
  const int channel = int(blockIdx.x) * ACROSS + threadIdx.x % ACROSS;
  const Real* const plain = static_cast<const Real*>(partials) + channel;
  const Real* const weighted = plain + parts * (long long)(channels);
  Pair sum = {0, 0};
#pragma unroll 4
  for (int p = threadIdx.x / ACROSS; p < parts && channel < channels; p += LINES) {
    sum.plain += plain[p * (long long)(channels)];
    sum.weighted += weighted[p * (long long)(channels)];
  }
  sum = join_parts(sum, scratch, AddPairs());
  if (threadIdx.x >= ACROSS || channel >= channels) return;
  weight[channel] = convert<PARAMETER>(sum.weighted);
  bias[channel] = convert<PARAMETER>(sum.plain);
  static_cast<Real*>(sums)[channel] = sum.plain;
  static_cast<Real*>(sums)[channels + channel] = sum.weighted;
}
EXPORT_KERNEL(batch_norm_sums)

// -> the gradient of x, and that of the residual unless it is null
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    batch_norm_backward_apply(TYPE* gradient, TYPE* residual, const TYPE* g, const TYPE* x, const TYPE* out,
                              const void* mean, const void* variance, const PARAMETER* weight, const void* sums,
                              double eps, const Walk walk) {
  const Place here(walk);
  if (here.channel >= walk.channels) return;
  const Channels c(here.channel, mean, variance, weight, Real(eps));
  Real level[VECTOR], slope[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    level[v] = static_cast<const Real*>(sums)[here.channel + v] / Real(walk.rows);
    slope[v] = static_cast<const Real*>(sums)[walk.channels + here.channel + v] / Real(walk.rows);
  }
#pragma unroll 2
  for (long long row = here.row; row < here.end; row += here.step) {
    const long long at = row * walk.channels + here.channel;
    const Pack value = passed(g, out, at);
    Pack result = load(x + at);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      const Real normal = (Real(result.at[v]) - c.mean[v]) * c.rstd[v];
      result.at[v] = convert<TYPE>((Real(value.at[v]) - level[v] - normal * slope[v]) * (c.rstd[v] * c.weight[v]));
    }
    *reinterpret_cast<Pack*>(gradient + at) = result;
    if (residual) *reinterpret_cast<Pack*>(residual + at) = value;
  }
}
EXPORT_KERNEL(batch_norm_backward_apply)

// Running statistics (channels) after a batch of `count` values per channel: old + momentum * (new - old), the variance
// unbiased.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_running(PARAMETER* new_mean, PARAMETER* new_variance, const PARAMETER* old_mean,
                       const PARAMETER* old_variance, const void* mean, const void* variance, double momentum,
                       double correction, int channels) {
  using Kept = Wide<PARAMETER>;
  const int channel = blockIdx.x * THREADS + threadIdx.x;
  if (channel >= channels) return;
  const Kept m = old_mean[channel], v = old_variance[channel];
  const Kept to_mean = Kept(static_cast<const Real*>(mean)[channel]);
  const Kept to_variance = Kept(static_cast<const Real*>(variance)[channel] * Real(correction));
  new_mean[channel] = convert<PARAMETER>(m + Kept(momentum) * (to_mean - m));
  new_variance[channel] = convert<PARAMETER>(v + Kept(momentum) * (to_variance - v));
}
EXPORT_KERNEL(batch_norm_running)
