// Operands of tensor cores as floats.
#pragma once

#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace emulator {

enum OperandType { BF16, F16, TF32 };

inline float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

// To nearest, ties to even.
inline uint16_t to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float operand(int type, uint32_t bits, int half) {
  if (type == TF32) return from_bits(bits & 0xffffe000u);  // the tensor core reads the upper 19 bits
  const uint16_t value = uint16_t(bits >> 16 * half);
  if (type == BF16) return from_bits(uint32_t(value) << 16);
  return _cvtsh_ss(value);
}

}  // namespace emulator
