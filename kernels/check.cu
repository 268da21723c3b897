// Notes one of the elements x (size) for which BAD holds, and its position, in the flag word.
//
// Defines:
//   TYPE    element type in memory;   SEEN   int64_t | uint64_t | double, what BAD sees of it
//   BAD     a condition on the element a, the one before it (0 at the beginning), its position i, and p, q
#include "common.cuh"
#include "flags.cuh"

constexpr int THREADS = 256;

DEVICE_INLINE bool bad(SEEN a, SEEN before, long long i, SEEN p, SEEN q) { return BAD; }

DEVICE_INLINE long long bits(int64_t a) { return a; }
DEVICE_INLINE long long bits(uint64_t a) { return (long long)(a); }
DEVICE_INLINE long long bits(double a) {
  union {
    double real;
    long long bits;
  } same = {a};
  return same.bits;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    check(const TYPE* x, long long size, long long p, long long q, void* flag, unsigned long long what) {
  const long long step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < size; i += step) {
    const SEEN a = convert<SEEN>(x[i]), before = i ? convert<SEEN>(x[i - 1]) : SEEN(0);
    if (bad(a, before, i, SEEN(p), SEEN(q))) raise_flag(static_cast<FlagWord*>(flag), what, bits(a), i);
  }
}
EXPORT_KERNEL(check)
