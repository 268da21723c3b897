// What kernels share that work on rows of C-contiguous arrays: a team of neighbouring threads owns a row and reads it in
// vectors of up to 16 bytes.
//
// Defines:
//   TYPE    element type;   LANES   threads of a team, a power of two from 4 to 1024
//   VECTOR  elements of an access, which together fill 16 bytes or are one
//   KEEP    vectors that a thread keeps of a row, so that memory is read once; 0: each pass reads the row again
//   WHOLE   1: rows are whole vectors; 0: vectors at both ends of a row may lie half in its neighbours
// python/weft/backends/gpu/rows.py chooses them.
#pragma once
#include "common.cuh"

using Real = Wide<TYPE>;
using Pack = Vector<TYPE, VECTOR>;
constexpr int THREADS = LANES < 128 ? 128 : LANES, TEAMS = THREADS / LANES, STEP = LANES * VECTOR;

// The first block's teams own the first rows.
DEVICE_INLINE long long row_of_team() { return blockIdx.x * (long long)(TEAMS) + threadIdx.x / LANES; }

// The reduction of x over a team; every thread of it gets the result, whose order is fixed. All threads of the block take
// part. `scratch` has THREADS / 32 elements of shared memory.
template <class T, class Combine>
DEVICE_INLINE T team_reduce(T x, T* scratch, Combine combine) {
  if constexpr (LANES <= 32) {
    return warp_reduce<LANES>(x, combine);
  } else {
    constexpr int WARPS = LANES > 32 ? LANES / 32 : 1;
    x = warp_reduce<32>(x, combine);
    __syncthreads();  // what the call before left there is read
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_reduce<WARPS>(scratch[threadIdx.x % WARPS], combine);
  }
}

struct Plus {
  template <class T>
  DEVICE_INLINE T operator()(T a, T b) const {
    return a + b;
  }
};

// Where the thread's first vector of a row begins: before the row where memory's vectors do not begin with it.
DEVICE_INLINE int first_element(long long row, int columns) {
  const int lane = threadIdx.x % LANES;
  return lane * VECTOR - (WHOLE ? 0 : int(row * columns & VECTOR - 1));
}

// Elements [at, at + VECTOR) of a row; `fill` for those that are of other rows.
DEVICE_INLINE Pack load_part(const TYPE* row, int at, int columns, TYPE fill) {
  if (WHOLE || (at >= 0 && at + VECTOR <= columns)) return *reinterpret_cast<const Pack*>(row + at);
  Pack part;
#pragma unroll
  for (int v = 0; v < VECTOR; v++) part.at[v] = at + v >= 0 && at + v < columns ? row[at + v] : fill;
  return part;
}

DEVICE_INLINE void store_part(TYPE* row, int at, int columns, const Pack& part) {
  if (WHOLE || (at >= 0 && at + VECTOR <= columns)) {
    *reinterpret_cast<Pack*>(row + at) = part;
    return;
  }
#pragma unroll
  for (int v = 0; v < VECTOR; v++)
    if (at + v >= 0 && at + v < columns) row[at + v] = part.at[v];
}

// A thread's share of one row of each of OPERANDS arrays of one shape.
template <int OPERANDS>
struct Share {
  const TYPE* rows[OPERANDS];
  int columns, first;
  TYPE fill;
  Pack kept[OPERANDS][KEEP ? KEEP : 1];

  // columns: 0 for a team without a row
  DEVICE_INLINE Share(const TYPE* const (&arrays)[OPERANDS], long long row, int columns, TYPE fill)
      : columns(columns), first(first_element(row, columns)), fill(fill) {
#pragma unroll
    for (int i = 0; i < OPERANDS; i++) rows[i] = arrays[i] + row * columns;
#pragma unroll
    for (int k = 0; k < KEEP; k++) {
      const int at = first + k * STEP;
#pragma unroll
      for (int i = 0; i < OPERANDS; i++)
        if (at < columns) kept[i][k] = load_part(rows[i], at, columns, fill);
    }
  }

  // f(at, parts, k) for each vector: where it begins, a Pack of each operand, and its number among those kept.
  template <class F>
  DEVICE_INLINE void each(F f) const {
    if constexpr (KEEP > 0) {
#pragma unroll
      for (int k = 0; k < KEEP; k++) {
        const int at = first + k * STEP;
        if (at < columns) {
          Pack parts[OPERANDS];
#pragma unroll
          for (int i = 0; i < OPERANDS; i++) parts[i] = kept[i][k];
          f(at, parts, k);
        }
      }
    } else {
      int at = first;
      if (!WHOLE && at < 0 && at < columns) read(at, f), at += STEP;
#pragma unroll 4
      for (; at + VECTOR <= columns; at += STEP) {
        Pack parts[OPERANDS];
#pragma unroll
        for (int i = 0; i < OPERANDS; i++) parts[i] = *reinterpret_cast<const Pack*>(rows[i] + at);
        f(at, parts, 0);
      }
      if (!WHOLE && at < columns) read(at, f);
    }
  }

 private:
  template <class F>
  DEVICE_INLINE void read(int at, F f) const {
    Pack parts[OPERANDS];
#pragma unroll
    for (int i = 0; i < OPERANDS; i++) parts[i] = load_part(rows[i], at, columns, fill);
    f(at, parts, 0);
  }
};
