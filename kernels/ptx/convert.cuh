// Conversions between float and the types of 16 and 19 bits, included by types.cuh. PTX ISA, "Data Movement and
// Conversion Instructions: cvt"; beside it, for the emulated device and for architectures that lack the instruction,
// the same rounding in integers.
#pragma once

// Round to nearest, ties to even, by hand: adds half of the last kept place, less one where that place is even.
DEVICE_INLINE uint16_t round_to_bf16(float x) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// significand / 2^shift.
DEVICE_INLINE uint64_t shift_to_even(uint64_t significand, int shift) {
  const uint64_t kept = significand >> shift, rest = significand & ((1ull << shift) - 1), half = 1ull << (shift - 1);
  return kept + (rest > half || (rest == half && (kept & 1)));
}

// From a format with MANTISSA bits behind the point and an exponent biased by BIAS, to binary16. A significand that
// rounds up to a power of two carries into the exponent, and from the largest exponent into infinity, by itself.
template <int MANTISSA, int BIAS>
DEVICE_INLINE uint16_t round_to_f16(uint64_t magnitude, uint16_t sign) {
  const uint64_t mantissa = magnitude & ((1ull << MANTISSA) - 1);
  const int biased = int(magnitude >> MANTISSA), exponent = biased - BIAS;
  if (biased == 2 * BIAS + 1) return mantissa ? 0x7fff : uint16_t(sign | 0x7c00);
  if (exponent > 15) return sign | 0x7c00;
  if (exponent < -25) return sign;  // under half of the smallest denormal
  const uint64_t significand = mantissa | 1ull << MANTISSA;
  if (exponent < -14) return uint16_t(sign | shift_to_even(significand, MANTISSA - 10 - 14 - exponent));
  return uint16_t(sign | ((uint64_t(exponent + 14) << 10) + shift_to_even(significand, MANTISSA - 10)));
}

DEVICE_INLINE uint16_t round_to_f16(float x) {
  const uint32_t bits = float_bits(x);
  return round_to_f16<23, 127>(bits & 0x7fffffff, uint16_t(bits >> 16 & 0x8000));
}

DEVICE_INLINE uint16_t round_to_f16(double x) {
  const uint64_t bits = double_bits(x);
  return round_to_f16<52, 1023>(bits & ~(1ull << 63), uint16_t(bits >> 48 & 0x8000));
}

DEVICE_INLINE float widen_f16(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
  if (exponent == 31) return bits_float(mantissa ? 0x7fffffff : sign | 0x7f800000);
  if (exponent == 0) {  // 2^-24 times the mantissa, exact in a float
    const float magnitude = float(mantissa) * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
  }
  return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

// To nearest, ties away from zero, the one rounding that cvt has for tf32; the low 13 bits become zero.
DEVICE_INLINE uint32_t round_to_tf32(float x) {
  const uint32_t bits = float_bits(x), magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fffffff;
  return magnitude == 0x7f800000 ? bits : (bits + 0x1000) & 0xffffe000;
}

#if WEFT_EMULATED

DEVICE_INLINE uint16_t convert_to_f16(float x) { return round_to_f16(x); }
DEVICE_INLINE uint16_t convert_to_f16(double x) { return round_to_f16(x); }
DEVICE_INLINE float convert_f16(uint16_t half) { return widen_f16(half); }

#else

DEVICE_INLINE uint16_t convert_to_f16(float x) {
  uint16_t half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
  return half;
}

DEVICE_INLINE uint16_t convert_to_f16(double x) {
  uint16_t half;
  asm("cvt.rn.f16.f64 %0, %1;" : "=h"(half) : "d"(x));
  return half;
}

DEVICE_INLINE float convert_f16(uint16_t half) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
  return x;
}

#endif

#if WEFT_EMULATED || WEFT_ARCH < 800

DEVICE_INLINE uint16_t convert_to_bf16(float x) { return round_to_bf16(x); }
DEVICE_INLINE uint32_t convert_to_bf16x2(float low, float high) {
  return round_to_bf16(low) | uint32_t(round_to_bf16(high)) << 16;
}
DEVICE_INLINE uint32_t convert_to_f16x2(float low, float high) {
  return convert_to_f16(low) | uint32_t(convert_to_f16(high)) << 16;
}
DEVICE_INLINE uint32_t to_tf32(float x) { return round_to_tf32(x); }

#else

DEVICE_INLINE uint16_t convert_to_bf16(float x) {
  uint16_t half;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(x));
  return half;
}

DEVICE_INLINE uint32_t convert_to_bf16x2(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

DEVICE_INLINE uint32_t convert_to_f16x2(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

DEVICE_INLINE uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

#endif
