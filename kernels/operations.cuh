// What reduce.cu can reduce by. An operation has an Accumulator and
//   identity()              the accumulator of nothing
//   add(so_far, x, index)   takes in one element, number `index` of its row
//   combine(a, b)           of two parts, the first before the second
//   finish(total, count)    the result, before it is converted
// Defines: IN, type of the elements;   ACCUMULATE, type of sums;   WIDE, 1 where 31 bits do not hold an index.
#pragma once
#include "expressions.cuh"

template <class T>
DEVICE_INLINE T lowest() {
  if constexpr (is_real<T>)
    return T(-INFINITY);
  else if constexpr (is_signed<T>)
    return T(Unsigned<T>(1) << (8 * sizeof(T) - 1));
  else
    return T(0);
}
template <class T>
DEVICE_INLINE T highest() {
  if constexpr (is_real<T>)
    return T(INFINITY);
  else if constexpr (is_same<T, bool>)
    return true;
  else
    return T(~lowest<T>());
}

struct Sum {
  using Accumulator = ACCUMULATE;
  static DEVICE_INLINE Accumulator identity() { return 0; }
  static DEVICE_INLINE Accumulator add(Accumulator a, IN x, long long) { return a + convert<Accumulator>(x); }
  static DEVICE_INLINE Accumulator combine(Accumulator a, Accumulator b) { return a + b; }
  static DEVICE_INLINE Accumulator finish(Accumulator a, long long) { return a; }
};

struct Mean : Sum {
  static DEVICE_INLINE Accumulator finish(Accumulator a, long long count) { return a / Accumulator(count); }
};

struct SumOfSquares : Sum {
  static DEVICE_INLINE Accumulator add(Accumulator a, IN x, long long) {
    return a + convert<Accumulator>(x) * convert<Accumulator>(x);
  }
};

struct Product {
  using Accumulator = ACCUMULATE;
  static DEVICE_INLINE Accumulator identity() { return 1; }
  static DEVICE_INLINE Accumulator add(Accumulator a, IN x, long long) { return a * convert<Accumulator>(x); }
  static DEVICE_INLINE Accumulator combine(Accumulator a, Accumulator b) { return a * b; }
  static DEVICE_INLINE Accumulator finish(Accumulator a, long long) { return a; }
};

struct Largest {  // NaN wins
  using Accumulator = Wide<IN>;
  static DEVICE_INLINE Accumulator identity() { return lowest<Accumulator>(); }
  static DEVICE_INLINE Accumulator add(Accumulator a, IN x, long long) { return larger(a, Accumulator(x)); }
  static DEVICE_INLINE Accumulator combine(Accumulator a, Accumulator b) { return larger(a, b); }
  static DEVICE_INLINE Accumulator finish(Accumulator a, long long) { return a; }
};

struct Smallest {
  using Accumulator = Wide<IN>;
  static DEVICE_INLINE Accumulator identity() { return highest<Accumulator>(); }
  static DEVICE_INLINE Accumulator add(Accumulator a, IN x, long long) { return smaller(a, Accumulator(x)); }
  static DEVICE_INLINE Accumulator combine(Accumulator a, Accumulator b) { return smaller(a, b); }
  static DEVICE_INLINE Accumulator finish(Accumulator a, long long) { return a; }
};

struct Any {
  using Accumulator = int;
  static DEVICE_INLINE int identity() { return 0; }
  static DEVICE_INLINE int add(int a, IN x, long long) { return a | int(convert<bool>(x)); }
  static DEVICE_INLINE int combine(int a, int b) { return a | b; }
  static DEVICE_INLINE bool finish(int a, long long) { return a != 0; }
};

struct All {
  using Accumulator = int;
  static DEVICE_INLINE int identity() { return 1; }
  static DEVICE_INLINE int add(int a, IN x, long long) { return a & int(convert<bool>(x)); }
  static DEVICE_INLINE int combine(int a, int b) { return a & b; }
  static DEVICE_INLINE bool finish(int a, long long) { return a != 0; }
};

// Value and index are of one size, so that no accumulator has bytes that nobody writes.
constexpr bool LONG_INDEX = WIDE || sizeof(IN) == 8;
using Key = typename Choose<is_real<IN>, typename Choose<LONG_INDEX, double, float>::type,
                            typename Choose<is_signed<IN>, typename Choose<LONG_INDEX, int64_t, int>::type,
                                            typename Choose<LONG_INDEX, uint64_t, unsigned>::type>::type>::type;
struct Candidate {
  Key value;
  typename Choose<LONG_INDEX, int64_t, int>::type index;  // -1: none yet
};
DEVICE_INLINE Candidate shuffle_xor(Candidate x, int distance) {
  return {shuffle_xor(x.value, distance), shuffle_xor(x.index, distance)};
}

// The index of the first extreme; NaN is one, and wins.
template <bool LARGEST>
struct Argument {
  using Accumulator = Candidate;
  static DEVICE_INLINE Candidate identity() { return {Key(0), -1}; }
  static DEVICE_INLINE bool beats(Key a, Key b) { return (LARGEST ? a > b : a < b) || (a != a && b == b); }
  static DEVICE_INLINE Candidate add(Candidate a, IN x, long long index) {
    return combine(a, {convert<Key>(x), decltype(a.index)(index)});
  }
  static DEVICE_INLINE Candidate combine(Candidate a, Candidate b) {
    if (a.index < 0 || beats(b.value, a.value)) return b.index < 0 ? a : b;
    if (b.index < 0 || beats(a.value, b.value)) return a;
    return a.index < b.index ? a : b;
  }
  static DEVICE_INLINE long long finish(Candidate a, long long) { return a.index; }
};
using ArgLargest = Argument<true>;
using ArgSmallest = Argument<false>;
