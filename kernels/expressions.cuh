// Functions that the expressions of python/weft/backends/gpu/expressions.py call, with NumPy's meaning: NaN wins, the
// remainder has the sign of the divisor, integers wrap and their division by zero gives zero.
#pragma once
#include "common.cuh"

template <class T>
DEVICE_INLINE T larger(T a, T b) {
  return a > b || a != a ? a : b;
}
template <class T>
DEVICE_INLINE T smaller(T a, T b) {
  return a < b || a != a ? a : b;
}

// -- integers. Signed arithmetic that may overflow is done in the unsigned type of the same size.

template <class T>
using Unsigned = typename Choose<sizeof(T) == 8, uint64_t, uint32_t>::type;

template <class T>
DEVICE_INLINE T magnitude(T a) {
  return a < T(0) ? T(Unsigned<T>(0) - Unsigned<T>(a)) : a;
}

template <class T>
DEVICE_INLINE T integer_floor_divide(T a, T b) {
  if (b == T(0)) return T(0);
  if constexpr (is_signed<T>) {
    if (b == T(-1)) return T(Unsigned<T>(0) - Unsigned<T>(a));  // the least integer wraps
    const T q = T(a / b);
    return q * b != a && (a < T(0)) != (b < T(0)) ? T(q - 1) : q;
  }
  return T(a / b);
}

template <class T>
DEVICE_INLINE T integer_remainder(T a, T b) {
  if (b == T(0)) return T(0);
  if constexpr (is_signed<T>) {
    if (b == T(-1)) return T(0);
    const T r = T(a % b);
    return r != T(0) && (r < T(0)) != (b < T(0)) ? T(r + b) : r;
  }
  return T(a % b);
}

// A negative power of an integer is 0, but for those of 1 and -1.
template <class T>
DEVICE_INLINE T integer_power(T a, T b) {
  if constexpr (is_signed<T>) {
    if (b < T(0)) return a == T(1) ? T(1) : a == T(-1) ? (b % T(2) != T(0) ? T(-1) : T(1)) : T(0);
  }
  Unsigned<T> result = 1, base = Unsigned<T>(a);
  for (Unsigned<T> exponent = Unsigned<T>(b); exponent; exponent >>= 1) {
    if (exponent & 1) result *= base;
    base *= base;
  }
  return T(result);
}

// -- real numbers

template <class T>
DEVICE_INLINE T real_floor_divide(T a, T b) {
  if (b == T(0)) return a / b;
  const T rest = fmod(a, b);
  T quotient = (a - rest) / b;
  if (rest != T(0) && (b < T(0)) != (rest < T(0))) quotient -= T(1);
  if (quotient == T(0)) return copysign(T(0), a / b);
  const T whole = floor(quotient);
  return quotient - whole > T(0.5) ? whole + T(1) : whole;
}

template <class T>
DEVICE_INLINE T real_remainder(T a, T b) {
  const T rest = fmod(a, b);
  if (b == T(0)) return rest;
  if (rest == T(0)) return copysign(T(0), b);
  return (b < T(0)) != (rest < T(0)) ? rest + b : rest;
}

template <class T>
DEVICE_INLINE T sign_of(T a) {
  return a > T(0) ? T(1) : a < T(0) ? T(-1) : a == T(0) ? T(0) : a;
}

template <class T>
DEVICE_INLINE T sigmoid(T a) {
  return T(1) / (T(1) + exp(-a));  // exp may reach infinity, whose inverse is the right 0
}

// -- activations: Hendrycks and Gimpel, "Gaussian error linear units" (2016), exact and by tanh; Elfwing et al. (2018)

template <class T>
DEVICE_INLINE T gelu(T a) {
  return T(0.5) * a * (T(1) + erf(a * T(0.70710678118654752)));
}
template <class T>
DEVICE_INLINE T gelu_backward(T g, T a) {
  const T distribution = T(0.5) * (T(1) + erf(a * T(0.70710678118654752)));
  return g * (distribution + a * T(0.39894228040143268) * exp(T(-0.5) * a * a));
}
template <class T>
DEVICE_INLINE T gelu_tanh(T a) {
  return T(0.5) * a * (T(1) + tanh(T(0.79788456080286536) * (a + T(0.044715) * a * a * a)));
}
template <class T>
DEVICE_INLINE T gelu_tanh_backward(T g, T a) {
  const T scale = T(0.79788456080286536), cubic = T(0.044715);
  const T t = tanh(scale * (a + cubic * a * a * a));
  return g * (T(0.5) * (T(1) + t) + T(0.5) * a * (T(1) - t * t) * scale * (T(1) + T(3) * cubic * a * a));
}
template <class T>
DEVICE_INLINE T silu_backward(T g, T a) {
  const T s = sigmoid(a);
  return g * (s * (T(1) + a * (T(1) - s)));
}
