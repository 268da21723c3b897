// Compiles one file of kernels for every instruction set. In x.cpp, after all standard headers and pool.h:
//
//     #define WEFT_KERNELS "x.inc"
//     #include "each_isa.h"
//     void f(...) { WEFT_DISPATCH(f, ...); }
//
// x.inc is compiled inside weft::v4 (VL 16, MR 14), weft::v3 (VL 8, MR 6) and weft::v1 (VL 4, MR 6; all there is off
// x86), each after simd.inc. VL is the floats in a vector, MR the rows of gemm's register block. x.inc must include no
// standard header: inlined library code compiled for AVX-512 must not be shared with the rest of the program.
// WEFT_DISPATCH(f, args...) calls the f of the chosen set.
#ifndef WEFT_KERNELS
#error "define WEFT_KERNELS as the file of kernels before including each_isa.h"
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include "isa.h"
#include "pool.h"

#define WEFT_INLINE static inline __attribute__((always_inline))
#define WEFT_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define WEFT_UNROLL(n) WEFT_PRAGMA(clang loop unroll_count(n))
#else
#define WEFT_UNROLL(n) WEFT_PRAGMA(GCC unroll n)
#endif

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                                                   \
    __attribute__((target("avx2,fma,bmi,bmi2,f16c,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,bmi2,prefer-vector-width=512")
#endif
#define VL 16
#define MR 14
namespace weft::v4 {
#include "simd.inc"
#include WEFT_KERNELS
}  // namespace weft::v4
#undef VL
#undef MR
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi,bmi2,f16c,lzcnt,popcnt"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#endif
#define VL 8
#define MR 6
namespace weft::v3 {
#include "simd.inc"
#include WEFT_KERNELS
}  // namespace weft::v3
#undef VL
#undef MR
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // __x86_64__

#define VL 4
#define MR 6
namespace weft::v1 {
#include "simd.inc"
#include WEFT_KERNELS
}  // namespace weft::v1
#undef VL
#undef MR

#if defined(__x86_64__)
#define WEFT_DISPATCH(f, ...)                                      \
  (::weft::isa() == ::weft::Isa::v4   ? ::weft::v4::f(__VA_ARGS__) \
   : ::weft::isa() == ::weft::Isa::v3 ? ::weft::v3::f(__VA_ARGS__) \
                                      : ::weft::v1::f(__VA_ARGS__))
#else
#define WEFT_DISPATCH(f, ...) ::weft::v1::f(__VA_ARGS__)
#endif
