// Cross-entropy of integer labels along the rows of logits (rows, columns). A row is read once for its loss; its gradient
// may be written over it. A label that is `ignore_index` counts for nothing; one out of range is noted in the flag word.
//
// Defines: those of rows.cuh, with KEEP 0;   INDEX   int32_t | int64_t, of labels
#include "flags.cuh"
#include "rows.cuh"
#include "softmax.cuh"

// `pack_options` of python/weft/backends/gpu/loss.py packs the same.
struct Options {
  long long rows;
  long long first;  // the number of row 0, for what is noted
  long long ignore_index;
  Real sharp;  // the part of a label's probability that is left to it
  Real even;   // what each class gets of the rest
  int columns;
  int smooth;  // 1: there is a rest
};

// What all rows share.
struct Setting : Options {
  const Real* weight;  // of each class; null: 1
  const Real* total;   // the sum of `weight`; null without it
  FlagWord* flag;
  unsigned long long what;

  DEVICE_INLINE Setting(const Options& o, const void* weight, const void* total, void* flag, unsigned long long what)
      : Options(o),
        weight(static_cast<const Real*>(weight)),
        total(static_cast<const Real*>(total)),
        flag(static_cast<FlagWord*>(flag)),
        what(what) {}
  DEVICE_INLINE Real weight_of(int column) const { return weight ? weight[column] : Real(1); }
};

// A Peak with what label smoothing sums: weight * (most - x), whose terms never cancel, and weight.
struct Tally {
  Peak peak;
  Real below, weight;
};

// What `below` becomes when the largest number rises from `old` to `most`.
DEVICE_INLINE Real lowered(Real below, Real weight, Real old, Real most) {
  return weight == 0 ? below : below + weight * (most - old);
}

struct JoinTallies {
  DEVICE_INLINE Tally operator()(const Tally& a, const Tally& b) const {
    Tally both;
    both.peak = JoinPeaks()(a.peak, b.peak);
    both.below = lowered(a.below, a.weight, a.peak.most, both.peak.most) +
                 lowered(b.below, b.weight, b.peak.most, both.peak.most);
    both.weight = a.weight + b.weight;
    return both;
  }
};

DEVICE_INLINE Tally shuffle_xor(const Tally& t, int distance) {
  Tally other;
  other.peak = shuffle_xor(t.peak, distance);
  other.below = shuffle_xor(t.below, distance);
  other.weight = shuffle_xor(t.weight, distance);
  return other;
}

template <bool SMOOTH>
DEVICE_INLINE Tally tally_of(const Share<1>& x, const Setting& o) {
  Tally t = {Peak::of_nothing(), 0, 0};
  x.each([&](int at, const Pack(&part)[1], int) {
    Real most = t.peak.most, sum = 0;
#pragma unroll
    for (int v = 0; v < VECTOR; v++) most = larger_of(most, Real(part[0].at[v]));
#pragma unroll
    for (int v = 0; v < VECTOR; v++) sum += exponential(Real(part[0].at[v]) - most);
    t.peak.sum = t.peak.sum * exponential(t.peak.most - most) + sum;
    if constexpr (SMOOTH) {
      t.below = lowered(t.below, t.weight, t.peak.most, most);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        if (!WHOLE && (at + v < 0 || at + v >= o.columns)) continue;
        const Real w = o.weight_of(at + v);
        t.below += w * (most - Real(part[0].at[v]));
        t.weight += w;
      }
    }
    t.peak.most = most;
  });
  return t;
}

// The label of a row: -1 if it is to be ignored, or is none and has been noted.
DEVICE_INLINE int label_of(const INDEX* labels, long long row, const Setting& o) {
  const long long label = labels[row];
  if (label == o.ignore_index) return -1;
  if (label >= 0 && label < o.columns) return int(label);
  if (threadIdx.x % LANES == 0) raise_flag(o.flag, o.what, label, o.first + row);
  return -1;
}

// The gradient of a row's loss, times g, which lies at `out`: that may be where the row lies.
DEVICE_INLINE void write_gradient(TYPE* out, const Share<1>& x, int label, Real g, Real log_of_sum, const Setting& o) {
  const Real hit = label < 0 ? Real(0) : o.weight_of(label) * o.sharp;
  const Real total = o.total ? *o.total : Real(o.columns);
  x.each([&](int at, const Pack(&part)[1], int) {
    Pack gradient;
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      const Real p = exponential(Real(part[0].at[v]) - log_of_sum);
      Real here = hit * (at + v == label ? p - 1 : p);
      if (o.smooth && (WHOLE || (at + v >= 0 && at + v < o.columns)))
        here += o.even * (p * total - o.weight_of(at + v));
      gradient.at[v] = convert<TYPE>(label < 0 ? Real(0) : here * g);
    }
    store_part(out, at, o.columns, gradient);
  });
}

template <bool GRADIENT>
DEVICE_INLINE void forward(Real* losses, Real* lse, TYPE* logits, const INDEX* labels, const Setting& o,
                           Tally* scratch) {
  const long long row = row_of_team();
  const bool inside = row < o.rows;
  const Share<1> x({logits}, row, inside ? o.columns : 0, convert<TYPE>(-INFINITY));
  const int label = inside ? label_of(labels, row, o) : -1;
  // read before the gradient is written there
  const Real hit = label < 0 ? Real(0) : Real(logits[row * o.columns + label]);
  Tally t;
  if (o.smooth) {
    t = team_reduce(tally_of<true>(x, o), scratch, JoinTallies());
  } else {
    t = tally_of<false>(x, o);
    t.peak = team_reduce(t.peak, reinterpret_cast<Peak*>(scratch), JoinPeaks());
  }
  const Real log_of_sum = t.peak.log_of_sum();
  if (inside && threadIdx.x % LANES == 0) {
    Real loss = 0;
    if (label >= 0) {
      loss = o.weight_of(label) * (logarithm(t.peak.sum) + (t.peak.most - hit));
      if (o.smooth) loss = loss * o.sharp + (t.below + t.weight * logarithm(t.peak.sum)) * o.even;
    }
    losses[row] = loss;
    if (lse) lse[row] = log_of_sum;
  }
  if constexpr (GRADIENT) {
    if constexpr (LANES > 32)
      __syncthreads();
    else
      __syncwarp();
    if (inside) write_gradient(logits + row * o.columns, x, label, 1, log_of_sum, o);
  }
}

// -> losses (rows), and the logarithms of the sums of exponentials, lse (rows).
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    cross_entropy(void* losses, void* lse, const TYPE* logits, const INDEX* labels, const void* weight,
                  const void* total, void* flag, unsigned long long what, const Options options) {
  __shared__ Tally scratch[THREADS / 32];
  const Setting setting(options, weight, total, flag, what);
  forward<false>(static_cast<Real*>(losses), static_cast<Real*>(lse), const_cast<TYPE*>(logits), labels, setting,
                 scratch);
}
EXPORT_KERNEL(cross_entropy)

// -> losses (rows); each row of logits becomes the gradient of its loss.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    cross_entropy_in_place(void* losses, TYPE* logits, const INDEX* labels, const void* weight, const void* total,
                           void* flag, unsigned long long what, const Options options) {
  __shared__ Tally scratch[THREADS / 32];
  const Setting setting(options, weight, total, flag, what);
  forward<true>(static_cast<Real*>(losses), static_cast<Real*>(nullptr), logits, labels, setting, scratch);
}
EXPORT_KERNEL(cross_entropy_in_place)

// The gradient of logits for the gradients g of the losses: (rows), or (1) for all with step 0. out may be logits.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    cross_entropy_backward(TYPE* out, const void* g, int step, const TYPE* logits, const INDEX* labels, const void* lse,
                           const void* weight, const void* total, void* flag, unsigned long long what,
                           const Options options) {
  const long long row = row_of_team();
  if (row >= options.rows) return;
  const Setting setting(options, weight, total, flag, what);
  const Share<1> x({logits}, row, options.columns, convert<TYPE>(-INFINITY));
  const Real here = static_cast<const Real*>(g)[row * step], log_of_sum = static_cast<const Real*>(lse)[row];
  write_gradient(out + row * options.columns, x, label_of(labels, row, setting), here, log_of_sum, setting);
}
EXPORT_KERNEL(cross_entropy_backward)
