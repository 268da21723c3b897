// Exponentials, and their sums below a largest number, for softmax and cross-entropy. Defines: TYPE, as in rows.cuh.
#pragma once
#include "common.cuh"

template <class T>
inline constexpr T LEAST = T(-3.4028234663852886e38);
template <>
inline constexpr double LEAST<double> = -1.7976931348623157e308;

DEVICE_INLINE float larger_of(float a, float b) { return fmaxf(a, b); }
DEVICE_INLINE double larger_of(double a, double b) { return fmax(a, b); }

// exp(x) for x <= 0: of 16-bit elements to the precision of the hardware's exponential, which is far beyond theirs.
DEVICE_INLINE Wide<TYPE> exponential(Wide<TYPE> x) {
  if constexpr (is_same<TYPE, double>)
    return exp(x);
  else if constexpr (is_same<TYPE, float>)
    return expf(x);
  else
    return exp2_approx(x * 1.4426950408889634f);
}

DEVICE_INLINE float logarithm(float x) { return logf(x); }
DEVICE_INLINE double logarithm(double x) { return log(x); }

// The largest of some numbers and the sum of exp(number - largest). The largest is never -inf, so that rows which begin
// with -inf have a sum; the sum is NaN where a number is NaN or inf.
struct Peak {
  Wide<TYPE> most, sum;

  static DEVICE_INLINE Peak of_nothing() { return {LEAST<Wide<TYPE>>, 0}; }

  // Takes in one more number, by one exponential.
  DEVICE_INLINE void add(Wide<TYPE> x) {
    const bool above = x > most;
    const Wide<TYPE> e = exponential(above ? most - x : x - most);
    sum = above ? sum * e + 1 : sum + e;
    most = above ? x : most;
  }
  DEVICE_INLINE Wide<TYPE> log_of_sum() const { return logarithm(sum) + most; }
};

struct JoinPeaks {
  DEVICE_INLINE Peak operator()(const Peak& a, const Peak& b) const {
    Peak both;
    both.most = larger_of(a.most, b.most);
    both.sum = a.sum * exponential(a.most - both.most) + b.sum * exponential(b.most - both.most);
    return both;
  }
};

DEVICE_INLINE Peak shuffle_xor(const Peak& p, int distance) {
  Peak other;
  other.most = shuffle_xor(p.most, distance);
  other.sum = shuffle_xor(p.sum, distance);
  return other;
}
