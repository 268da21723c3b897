// Philox4x32-10 and Box-Muller: the same bits as csrc/cpu and backends/reference/random.py. Word i of the stream `seed`
// is word i % 4 of the block with counter i / 4 and key `seed`. Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
// as easy as 1, 2, 3" (SC11).
#pragma once
#include "ptx.cuh"

struct Words {
  uint32_t at[4];
};

DEVICE_INLINE Words philox(unsigned long long counter, unsigned long long seed) {
  uint32_t c0 = uint32_t(counter), c1 = uint32_t(counter >> 32), c2 = 0, c3 = 0;
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned long long a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    c0 = uint32_t(b >> 32) ^ c1 ^ k0;
    c2 = uint32_t(a >> 32) ^ c3 ^ k1;
    c1 = uint32_t(b);
    c3 = uint32_t(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Sums and products that no compiler fuses: every step is one rounding, as in the reference.
DEVICE_INLINE double plus(double a, double b) { return __dadd_rn(a, b); }
DEVICE_INLINE double times(double a, double b) { return __dmul_rn(a, b); }

template <int N>
DEVICE_INLINE double polynomial(const double (&coefficients)[N], double x) {
  double y = coefficients[N - 1];
#pragma unroll
  for (int i = N - 2; i >= 0; i--) y = plus(times(y, x), coefficients[i]);
  return y;
}

// Natural logarithm of positive normal numbers: x = m 2^e with m between sqrt(1/2) and sqrt(2), log m = 2 atanh(s).
DEVICE_INLINE double logarithm(double x) {
  const double atanh[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                          1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
  const long long bits = (long long)(double_bits(x)), exponent = (bits - 0x3FE6A09E00000000ll) >> 52;
  const double m = __longlong_as_double(bits - exponent * (1ll << 52)), e = double(exponent);
  const double s = plus(m, -1.0) / plus(m, 1.0);
  const double fraction =
      plus(times(times(2.0, s), polynomial(atanh, times(s, s))), times(e, 1.90821492927058770002e-10));
  return plus(times(e, 6.93147180369123816490e-01), fraction);
}

// Two words -> two independent standard normals (Box and Muller, 1958). The upper two bits of the second word choose the
// quadrant, the others an angle around its middle, between -pi/4 and pi/4.
DEVICE_INLINE void box_muller(uint32_t first, uint32_t second, double& x, double& y) {
  const double sines[] = {1.0,
                          -1.0 / 6,
                          1.0 / 120,
                          -1.0 / 5040,
                          1.0 / 362880,
                          -1.0 / 39916800,
                          1.0 / 6227020800,
                          -1.0 / 1307674368000,
                          1.0 / 355687428096000};
  const double cosines[] = {1.0,
                            -1.0 / 2,
                            1.0 / 24,
                            -1.0 / 720,
                            1.0 / 40320,
                            -1.0 / 3628800,
                            1.0 / 479001600,
                            -1.0 / 87178291200,
                            1.0 / 20922789888000,
                            -1.0 / 6402373705728000};
  const double scale = 6.283185307179586 * (1.0 / 4294967296.0);
  const double u = times(plus(double(first), 0.5), 1.0 / 4294967296.0);
  double r = sqrt(times(-2.0, logarithm(u)));
  const double angle = times(plus(double(second & 0x3FFFFFFFu), -(536870912.0 - 0.5)), scale);
  const double square = times(angle, angle);
  const double s = times(angle, polynomial(sines, square)), c = polynomial(cosines, square);
  if (second >> 31) r = -r;
  const bool odd = second >> 30 & 1;
  x = times(r, odd ? -s : c);
  y = times(r, odd ? c : s);
}

// A uniform in [0, 1) of T: as many upper bits of the word as keep it exact and below one.
template <class T>
DEVICE_INLINE T uniform(uint32_t word) {
  constexpr int BITS = is_same<T, f16> ? 11 : is_same<T, bf16> ? 8 : 24;
  return T(float(word >> (32 - BITS)) * (1.0f / float(1 << BITS)));
}
DEVICE_INLINE double uniform(uint32_t high, uint32_t low) {
  return double(((unsigned long long)(high) << 21) | low >> 11) * (1.0 / 9007199254740992.0);
}
