// What elementwise, reducing and indexing kernels share: conversions between element types, vectors of elements, strided
// layouts of any rank up to eight, and reductions over a warp or a block.
#pragma once
#include "ptx.cuh"

// -- element types -----------------------------------------------------------------------------------------------------

template <class T>
inline constexpr bool is_16_bit = is_same<T, f16> || is_same<T, bf16>;
template <class T>
inline constexpr bool is_real = is_same<T, float> || is_same<T, double> || is_16_bit<T>;
template <class T>
constexpr bool signed_type() {
  if constexpr (is_16_bit<T>) {
    return true;  // their comparison is no constant expression
  } else {
    return T(-1) < T(0);
  }
}
template <class T>
inline constexpr bool is_signed = signed_type<T>();

template <bool CONDITION, class Yes, class No>
struct Choose {
  using type = Yes;
};
template <class Yes, class No>
struct Choose<false, Yes, No> {
  using type = No;
};

// What a type is computed in: float for 16 bits, else itself.
template <class T>
using Wide = typename Choose<is_16_bit<T>, float, T>::type;

// x as NumPy casts it. A real number goes to an unsigned type through a signed one, so that -1.0 wraps as on the CPU;
// what lies out of the range of 64 bits, and NaN, has no defined integer.
template <class To, class From>
DEVICE_INLINE To convert(From x) {
  if constexpr (is_same<To, From>) {
    return x;
  } else if constexpr (is_16_bit<From>) {
    return convert<To>(float(x));
  } else if constexpr (is_same<To, bool>) {
    return x != From(0);
  } else if constexpr (is_same<To, f16> && is_same<From, double>) {
    return f16(x);  // one rounding, not two
  } else if constexpr (is_16_bit<To>) {
    return To(float(x));
  } else if constexpr (is_real<From> && !is_real<To>) {
    if constexpr (sizeof(To) < 4 && is_signed<To>) return To(int(x));
    if constexpr (!is_signed<To> && sizeof(To) < 8) return To(int64_t(x));
    if constexpr (!is_signed<To>) return x < From(0) ? To(int64_t(x)) : To(x);
    return To(x);
  } else {
    return To(x);
  }
}

// N elements that lie together; one access where they fill 16 bytes or less.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vector {
  T at[N];
};

// -- layouts -----------------------------------------------------------------------------------------------------------

// Division of n < 2^31 by a number that the host knows, as a multiplication. Granlund and Montgomery, "Division by
// invariant integers using multiplication" (1994).
struct Division {
  unsigned divisor, multiplier, shift;

  DEVICE_INLINE unsigned quotient(unsigned n) const { return (__umulhi(n, multiplier) + n) >> shift; }
  DEVICE_INLINE unsigned long long quotient(unsigned long long n) const { return n / divisor; }
};

constexpr int MAX_RANK = 8;

// Sizes and strides (in elements) of OPERANDS arrays that are walked together, the innermost dimension first. The host's
// packing of it is in python/weft/backends/gpu/layout.py.
template <int OPERANDS>
struct Layout {
  Division sizes[MAX_RANK];
  int rank;
  long long strides[OPERANDS][MAX_RANK];

  // Where element number i of the walk lies in each operand. Index: unsigned, or unsigned long long where 31 bits do not
  // hold a number of elements or an offset.
  template <class Index, class Offset>
  DEVICE_INLINE void locate(Index i, Offset (&offsets)[OPERANDS]) const {
#pragma unroll
    for (int k = 0; k < OPERANDS; k++) offsets[k] = 0;
#pragma unroll
    for (int d = 0; d < MAX_RANK; d++) {
      if (d == rank) break;
      Index at = i;
      if (d < rank - 1) {
        const Index next = sizes[d].quotient(i);
        at = i - next * sizes[d].divisor;
        i = next;
      }
#pragma unroll
      for (int k = 0; k < OPERANDS; k++) offsets[k] += Offset(at) * Offset(strides[k][d]);
    }
  }
};

// -- reductions over threads -------------------------------------------------------------------------------------------

// The value of the lane whose number differs in the bits of `distance`; structs overload it, part by part.
template <class T>
DEVICE_INLINE T shuffle_xor(T x, int distance) {
  return T(__shfl_xor_sync(0xffffffffu, x, distance));
}

// The reduction of `x` over groups of WIDTH neighbouring lanes, in a fixed order; every lane gets the result. combine is
// not required to commute: the lower lane's value comes first.
template <int WIDTH, class T, class Combine>
DEVICE_INLINE T warp_reduce(T x, Combine combine) {
#pragma unroll
  for (int distance = 1; distance < WIDTH; distance *= 2) {
    const T other = shuffle_xor(x, distance);
    x = threadIdx.x & distance ? combine(other, x) : combine(x, other);
  }
  return x;
}

// The reduction of `x` over a block of THREADS (a multiple of 32, at most 1024), in a fixed order; thread 0 gets the
// result. `scratch` has THREADS / 32 elements of shared memory, free again when all threads have passed a barrier.
template <int THREADS, class T, class Combine>
DEVICE_INLINE T block_reduce(T x, T* scratch, T identity, Combine combine) {
  constexpr int WARPS = THREADS / 32;
  x = warp_reduce<32>(x, combine);
  if constexpr (WARPS > 1) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    if (warp == 0) x = warp_reduce<32>(lane < WARPS ? scratch[lane] : identity, combine);
  }
  return x;
}
