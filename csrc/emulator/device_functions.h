// CUDA's built-in functions for the emulated device; included by device.h alone.
#pragma once

// ---- synchronisation
inline void __syncthreads(EMU_LOC) { emu_barrier(0, 0, 0, EMU_PASS); }
inline int __syncthreads_or(int predicate, EMU_LOC) { return emu_barrier_reduce(0, predicate, EMU_PASS); }
inline int __syncthreads_and(int predicate, EMU_LOC) { return emu_barrier_reduce(1, predicate, EMU_PASS); }
inline int __syncthreads_count(int predicate, EMU_LOC) { return emu_barrier_reduce(2, predicate, EMU_PASS); }
inline void __syncwarp(unsigned mask = ~0u, EMU_LOC) { emu_warp(mask, 1, nullptr, nullptr, EMU_PASS); }
inline void __threadfence(EMU_LOC) { emu_fence(1, EMU_PASS); }
inline void __threadfence_system(EMU_LOC) { emu_fence(1, EMU_PASS); }
inline void __threadfence_block(EMU_LOC) { emu_fence(0, EMU_PASS); }
inline void __nanosleep(unsigned) { emu_yield(); }
inline void __trap(EMU_LOC) { emu_fail(EMU_PASS, "__trap()"); }
inline long long clock64() { return emu_clock(); }

// ---- warp shuffles and votes
template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMU_LOC) {
  emu_shuffle(mask, &value, sizeof value, 0, lane, width, EMU_PASS);
  return value;
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_LOC) {
  emu_shuffle(mask, &value, sizeof value, 1, int(delta), width, EMU_PASS);
  return value;
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMU_LOC) {
  emu_shuffle(mask, &value, sizeof value, 2, int(delta), width, EMU_PASS);
  return value;
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMU_LOC) {
  emu_shuffle(mask, &value, sizeof value, 3, lanes, width, EMU_PASS);
  return value;
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_LOC) {
  return emu_ballot(mask, predicate, 0, EMU_PASS);
}
inline int __any_sync(unsigned mask, int predicate, EMU_LOC) { return int(emu_ballot(mask, predicate, 1, EMU_PASS)); }
inline int __all_sync(unsigned mask, int predicate, EMU_LOC) { return int(emu_ballot(mask, predicate, 2, EMU_PASS)); }
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, EMU_LOC) {
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  return emu_match_any(mask, bits, EMU_PASS);
}
inline unsigned __activemask() { return emu_active_mask(); }
#define EMU_REDUCE(name, T, operation)                                     \
  inline T name(unsigned mask, T value, EMU_LOC) {                         \
    return T(emu_warp_reduce(mask, unsigned(value), operation, EMU_PASS)); \
  }
EMU_REDUCE(__reduce_add_sync, unsigned, EMU_ADD)
EMU_REDUCE(__reduce_add_sync, int, EMU_ADD)
EMU_REDUCE(__reduce_max_sync, unsigned, EMU_UMAX)
EMU_REDUCE(__reduce_max_sync, int, EMU_MAX)
EMU_REDUCE(__reduce_min_sync, unsigned, EMU_UMIN)
EMU_REDUCE(__reduce_min_sync, int, EMU_MIN)
EMU_REDUCE(__reduce_and_sync, unsigned, EMU_AND)
EMU_REDUCE(__reduce_or_sync, unsigned, EMU_OR)
EMU_REDUCE(__reduce_xor_sync, unsigned, EMU_XOR)
#undef EMU_REDUCE

// ---- atomics: relaxed, as CUDA's are
#define EMU_ATOMIC(name, T, U, bits, operation)                                                        \
  inline T name(T* p, T value, EMU_LOC) {                                                              \
    return static_cast<T>(                                                                             \
        emu_atomic_##bits(reinterpret_cast<U*>(p), operation, static_cast<U>(value), 0, 0, EMU_PASS)); \
  }
#define EMU_ATOMIC_INTEGERS(name, signed_operation, unsigned_operation) \
  EMU_ATOMIC(name, int, unsigned, 32, signed_operation)                 \
  EMU_ATOMIC(name, unsigned, unsigned, 32, unsigned_operation)          \
  EMU_ATOMIC(name, long long, unsigned long long, 64, signed_operation) \
  EMU_ATOMIC(name, unsigned long long, unsigned long long, 64, unsigned_operation)
EMU_ATOMIC_INTEGERS(atomicAdd, EMU_ADD, EMU_ADD)
EMU_ATOMIC_INTEGERS(atomicExch, EMU_EXCHANGE, EMU_EXCHANGE)
EMU_ATOMIC_INTEGERS(atomicMax, EMU_MAX, EMU_UMAX)
EMU_ATOMIC_INTEGERS(atomicMin, EMU_MIN, EMU_UMIN)
EMU_ATOMIC_INTEGERS(atomicAnd, EMU_AND, EMU_AND)
EMU_ATOMIC_INTEGERS(atomicOr, EMU_OR, EMU_OR)
EMU_ATOMIC_INTEGERS(atomicXor, EMU_XOR, EMU_XOR)
EMU_ATOMIC(atomicInc, unsigned, unsigned, 32, EMU_INC)
EMU_ATOMIC(atomicDec, unsigned, unsigned, 32, EMU_DEC)
#undef EMU_ATOMIC_INTEGERS
#undef EMU_ATOMIC
inline int atomicSub(int* p, int value, EMU_LOC) { return atomicAdd(p, int(0u - unsigned(value)), EMU_PASS); }
inline unsigned atomicSub(unsigned* p, unsigned value, EMU_LOC) { return atomicAdd(p, 0u - value, EMU_PASS); }
#define EMU_ATOMIC_CAS(T, U, bits)                                                                   \
  inline T atomicCAS(T* p, T compare, T value, EMU_LOC) {                                            \
    return static_cast<T>(emu_atomic_##bits(reinterpret_cast<U*>(p), EMU_CAS, static_cast<U>(value), \
                                            static_cast<U>(compare), 0, EMU_PASS));                  \
  }
EMU_ATOMIC_CAS(int, unsigned, 32)
EMU_ATOMIC_CAS(unsigned, unsigned, 32)
EMU_ATOMIC_CAS(unsigned long long, unsigned long long, 64)
#undef EMU_ATOMIC_CAS

// ---- bits
#define EMU_CAST(name, To, From)                      \
  inline To name(From from) {                         \
    static_assert(sizeof(To) == sizeof(From), #name); \
    To to;                                            \
    __builtin_memcpy(&to, &from, sizeof to);          \
    return to;                                        \
  }
EMU_CAST(__int_as_float, float, int)
EMU_CAST(__float_as_int, int, float)
EMU_CAST(__uint_as_float, float, unsigned)
EMU_CAST(__float_as_uint, unsigned, float)
EMU_CAST(__longlong_as_double, double, long long)
EMU_CAST(__double_as_longlong, long long, double)
#undef EMU_CAST
inline float atomicAdd(float* p, float value, EMU_LOC) {
  return __uint_as_float(
      emu_atomic_32(reinterpret_cast<unsigned*>(p), EMU_ADD_F32, __float_as_uint(value), 0, 0, EMU_PASS));
}
inline double atomicAdd(double* p, double value, EMU_LOC) {
  const unsigned long long bits = static_cast<unsigned long long>(__double_as_longlong(value));
  return __longlong_as_double(static_cast<long long>(
      emu_atomic_64(reinterpret_cast<unsigned long long*>(p), EMU_ADD_F64, bits, 0, 0, EMU_PASS)));
}
inline float atomicExch(float* p, float value, EMU_LOC) {
  return __uint_as_float(
      emu_atomic_32(reinterpret_cast<unsigned*>(p), EMU_EXCHANGE, __float_as_uint(value), 0, 0, EMU_PASS));
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned __brev(unsigned x) {
  x = __builtin_bswap32(x);
  x = (x & 0x0f0f0f0f) << 4 | (x >> 4 & 0x0f0f0f0f);
  x = (x & 0x33333333) << 2 | (x >> 2 & 0x33333333);
  return (x & 0x55555555) << 1 | (x >> 1 & 0x55555555);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
  unsigned out = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned select = selector >> 4 * i & 15, byte = unsigned(bytes >> 8 * (select & 7)) & 255;
    out |= (select & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
  }
  return out;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  shift &= 31;
  return shift ? high << shift | low >> (32 - shift) : high;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  shift &= 31;
  return shift ? low >> shift | high << (32 - shift) : low;
}
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned(static_cast<unsigned long long>(x) * y >> 32); }
inline int __mulhi(int x, int y) { return int(static_cast<long long>(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}

// ---- loads and stores with cache hints
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
template <class T>
inline T __ldcs(const T* p) {
  return *p;
}
template <class T>
inline T __ldcg(const T* p) {
  return *p;
}
template <class T>
inline T __ldca(const T* p) {
  return *p;
}
template <class T>
inline void __stcs(T* p, T value) {
  *p = value;
}
template <class T>
inline void __stcg(T* p, T value) {
  *p = value;
}

// ---- mathematics: libm's, under both spellings
#define EMU_MATH_1(name)                    \
  extern "C" double name(double) noexcept;  \
  extern "C" float name##f(float) noexcept; \
  inline float name(float x) { return name##f(x); }
#define EMU_MATH_2(name)                           \
  extern "C" double name(double, double) noexcept; \
  extern "C" float name##f(float, float) noexcept; \
  inline float name(float x, float y) { return name##f(x, y); }
// clang-format off
EMU_MATH_1(exp) EMU_MATH_1(exp2) EMU_MATH_1(expm1) EMU_MATH_1(log) EMU_MATH_1(log2) EMU_MATH_1(log10)
EMU_MATH_1(log1p) EMU_MATH_1(sqrt) EMU_MATH_1(cbrt) EMU_MATH_1(sin) EMU_MATH_1(cos) EMU_MATH_1(tan) EMU_MATH_1(asin)
EMU_MATH_1(acos) EMU_MATH_1(atan) EMU_MATH_1(sinh) EMU_MATH_1(cosh) EMU_MATH_1(tanh) EMU_MATH_1(asinh)
EMU_MATH_1(acosh) EMU_MATH_1(atanh) EMU_MATH_1(erf) EMU_MATH_1(erfc) EMU_MATH_1(lgamma) EMU_MATH_1(tgamma)
EMU_MATH_1(floor) EMU_MATH_1(ceil) EMU_MATH_1(trunc) EMU_MATH_1(round) EMU_MATH_1(rint) EMU_MATH_1(nearbyint)
EMU_MATH_1(fabs) EMU_MATH_2(pow) EMU_MATH_2(atan2) EMU_MATH_2(hypot) EMU_MATH_2(fmod) EMU_MATH_2(remainder)
EMU_MATH_2(fmax) EMU_MATH_2(fmin) EMU_MATH_2(fdim) EMU_MATH_2(copysign) EMU_MATH_2(nextafter)
#undef EMU_MATH_1
#undef EMU_MATH_2
extern "C" double fma(double, double, double) noexcept;
// clang-format on
extern "C" float fmaf(float, float, float) noexcept;
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" void sincosf(float, float*, float*) noexcept;
extern "C" void sincos(double, double*, double*) noexcept;
extern "C" long lrintf(float) noexcept;
extern "C" int abs(int) noexcept;
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
inline float ldexp(float x, int exponent) { return ldexpf(x, exponent); }
inline float abs(float x) { return __builtin_fabsf(x); }
inline double abs(double x) { return __builtin_fabs(x); }
inline long long abs(long long x) { return x < 0 ? -x : x; }
inline long long llabs(long long x) { return x < 0 ? -x : x; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float exp10f(float x) { return powf(10.0f, x); }
inline double exp10(double x) { return pow(10.0, x); }
inline float sinpif(float x) { return float(sin(3.14159265358979323846 * fmod(double(x), 2.0))); }
inline float cospif(float x) { return float(cos(3.14159265358979323846 * fmod(double(x), 2.0))); }
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf_sign(x) != 0; }
inline bool isinf(double x) { return __builtin_isinf_sign(x) != 0; }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
inline bool signbit(float x) { return __builtin_signbitf(x) != 0; }
inline bool signbit(double x) { return __builtin_signbit(x) != 0; }
#define EMU_MIN_MAX(T)                             \
  inline T min(T x, T y) { return y < x ? y : x; } \
  inline T max(T x, T y) { return x < y ? y : x; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }

// ---- intrinsics: the approximate ones as exact as libm
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
// A sum or product that must not be fused is hidden from the compiler for one instruction.
inline float emu_unfused(float x) {
  asm("" : "+x"(x));
  return x;
}
inline double emu_unfused(double x) {
  asm("" : "+x"(x));
  return x;
}
inline float __fadd_rn(float x, float y) { return emu_unfused(x + y); }
inline float __fsub_rn(float x, float y) { return emu_unfused(x - y); }
inline float __fmul_rn(float x, float y) { return emu_unfused(x * y); }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return emu_unfused(x + y); }
inline double __dmul_rn(double x, double y) { return emu_unfused(x * y); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }
// Conversions to integers saturate and turn NaN into 0, as the instruction does; C++ leaves them undefined.
inline int __float2int_rz(float x) {
  return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x <= -2147483648.0f ? -2147483647 - 1 : int(x);
}
inline int __float2int_rn(float x) { return __float2int_rz(rintf(x)); }
inline int __float2int_rd(float x) { return __float2int_rz(floorf(x)); }
inline int __float2int_ru(float x) { return __float2int_rz(ceilf(x)); }
inline unsigned __float2uint_rz(float x) { return x > 0.0f ? (x >= 4294967296.0f ? ~0u : unsigned(x)) : 0u; }
inline unsigned __float2uint_rn(float x) { return __float2uint_rz(rintf(x)); }

inline void grid_sync(EMU_LOC) { emu_grid_sync(EMU_PASS); }
