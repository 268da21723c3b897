// Types and qualifiers that every kernel stands on. No header of CUDA or of a C library is included, so that NVRTC
// needs no include path but this folder, and g++ compiles the same kernels for the emulated device in a tenth of a
// second.
#pragma once

using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned;
#if defined(__CUDACC__)
using int64_t = long long;
using uint64_t = unsigned long long;
using size_t = decltype(sizeof 0);
#else  // the C library's names for the same 64 bits
using int64_t = __INT64_TYPE__;
using uint64_t = __UINT64_TYPE__;
using size_t = decltype(sizeof 0);
#endif

// WEFT_ARCH is the compute capability, 900 for sm_90. WEFT_WGMMA tells whether wgmma and setmaxnreg exist, which only
// sm_90a, not sm_90, has.
#if defined(__CUDACC__)
#define WEFT_EMULATED 0
#if defined(__CUDA_ARCH__)
#define WEFT_ARCH __CUDA_ARCH__
#else
#define WEFT_ARCH 0
#endif
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define WEFT_WGMMA 1
#else
#define WEFT_WGMMA 0
#endif
#define DEVICE_INLINE __device__ __forceinline__
// The extern array has one type per alignment, because kernels of one file may want different ones under one name.
#define DYNAMIC_SHARED(type, name, alignment) \
  extern __shared__ __align__(alignment)      \
  unsigned char dynamic_shared_##alignment[]; \
  type* const name = reinterpret_cast<type*>(dynamic_shared_##alignment)
#define EXPORT_KERNEL(kernel)
#else
#define WEFT_EMULATED 1
#ifndef WEFT_ARCH
#define WEFT_ARCH 900
#endif
#define WEFT_WGMMA (WEFT_ARCH >= 900 && WEFT_ARCH < 1000)
#define DEVICE_INLINE inline __attribute__((always_inline))
#endif

#undef INFINITY
#undef NAN
#if WEFT_EMULATED
#define INFINITY (__builtin_huge_valf())
#define NAN (__builtin_nanf(""))
#else
#define INFINITY (__int_as_float(0x7f800000))
#define NAN (__int_as_float(0x7fffffff))
#endif

template <class A, class B>
inline constexpr bool is_same = false;
template <class A>
inline constexpr bool is_same<A, A> = true;

// The bits of a number, and back.
#if WEFT_EMULATED
DEVICE_INLINE uint32_t float_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}
DEVICE_INLINE uint64_t double_bits(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  return bits;
}
DEVICE_INLINE float bits_float(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
#else
DEVICE_INLINE uint32_t float_bits(float x) { return __float_as_uint(x); }
DEVICE_INLINE uint64_t double_bits(double x) { return uint64_t(__double_as_longlong(x)); }
DEVICE_INLINE float bits_float(uint32_t bits) { return __uint_as_float(bits); }
#endif

#include "ptx/convert.cuh"

// IEEE binary16 and bfloat16: storage of 16 bits. Arithmetic is float's, because they turn into float by themselves;
// to round back is written out, as f16(x), to the nearest and to even in ties. NaN becomes 0x7fff.
struct f16 {
  uint16_t bits;

  f16() = default;
  template <class T>
  DEVICE_INLINE explicit f16(T x) : bits(convert_to_f16(static_cast<Arithmetic<T>>(x))) {}
  DEVICE_INLINE operator float() const { return convert_f16(bits); }
  static DEVICE_INLINE f16 from_bits(uint16_t bits) {
    f16 x;
    x.bits = bits;
    return x;
  }

 private:
  template <class T, bool DOUBLE = is_same<T, double>>
  struct Through {
    using type = float;
  };
  template <class T>
  struct Through<T, true> {
    using type = double;
  };
  template <class T>
  using Arithmetic = typename Through<T>::type;
};

struct bf16 {
  uint16_t bits;

  bf16() = default;
  template <class T>
  DEVICE_INLINE explicit bf16(T x) : bits(convert_to_bf16(static_cast<float>(x))) {}
  DEVICE_INLINE operator float() const { return bits_float(uint32_t(bits) << 16); }
  static DEVICE_INLINE bf16 from_bits(uint16_t bits) {
    bf16 x;
    x.bits = bits;
    return x;
  }
};

// A float of which a tensor core reads the upper 19 bits: a tag for mma and wgmma. to_tf32(x) rounds.
struct tf32 {};

// Two 16-bit values in one register: `low` is the first in memory.
template <class T>
DEVICE_INLINE uint32_t pack(T low, T high) {
  return low.bits | uint32_t(high.bits) << 16;
}

template <class T>
DEVICE_INLINE uint32_t pack(float low, float high);
template <>
DEVICE_INLINE uint32_t pack<f16>(float low, float high) {
  return convert_to_f16x2(low, high);
}
template <>
DEVICE_INLINE uint32_t pack<bf16>(float low, float high) {
  return convert_to_bf16x2(low, high);
}

template <class T>
DEVICE_INLINE T low_half(uint32_t pair) {
  return T::from_bits(uint16_t(pair));
}
template <class T>
DEVICE_INLINE T high_half(uint32_t pair) {
  return T::from_bits(uint16_t(pair >> 16));
}

struct alignas(64) TensorMap {  // the driver's CUtensorMap
  uint64_t opaque[16];
};
