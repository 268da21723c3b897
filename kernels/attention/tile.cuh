// Tiles of rows in shared memory, and how they get there.
#pragma once
#include "common.cuh"

#if WEFT_ARCH >= 800
template <class T>
DEVICE_INLINE void copy_16(unsigned char* to, const T* from, bool valid) {
  cp_async_16(smem_u32(to), from, valid);
}
DEVICE_INLINE void copy_4(float* to, const float* from, bool valid) { cp_async_4(smem_u32(to), from, valid); }
DEVICE_INLINE void close_group() { cp_async_commit(); }
template <int PENDING>
DEVICE_INLINE void wait_for_groups() {
  cp_async_wait<PENDING>();
}
#else  // Turing has no cp.async: every tile passes through registers, and nothing is waited for
template <class T>
DEVICE_INLINE void copy_16(unsigned char* to, const T* from, bool valid) {
  Vector<uint32_t, 4> x = {};
  if (valid) x = *reinterpret_cast<const Vector<uint32_t, 4>*>(from);
  *reinterpret_cast<Vector<uint32_t, 4>*>(to) = x;
}
DEVICE_INLINE void copy_4(float* to, const float* from, bool valid) { *to = valid ? *from : 0.0f; }
DEVICE_INLINE void close_group() {}
template <int PENDING>
DEVICE_INLINE void wait_for_groups() {}
#endif

// Rows of COLUMNS elements, in chunks of 16 bytes. The chunks of a row are permuted so that eight neighbouring rows
// have the same chunk in different banks.
template <class T, int COLUMNS>
struct Tile {
  static constexpr int PER_CHUNK = 16 / sizeof(T), CHUNKS = COLUMNS / PER_CHUNK, ROW_BYTES = COLUMNS * int(sizeof(T));
  static constexpr int TURNS = CHUNKS % 8 == 0 ? 8 : CHUNKS % 4 == 0 ? 4 : 2;
  static_assert(CHUNKS % 2 == 0, "rows are multiples of 32 bytes");

  static DEVICE_INLINE int place(int row, int chunk) {
    const int turn = TURNS == 8 ? row & 7 : TURNS == 4 ? row >> 1 & 3 : row >> 2 & 1;
    return row * ROW_BYTES + ((chunk ^ turn) << 4);
  }

  // Starts to copy ROWS rows, of which `rows` exist and have `columns` elements, the last chunk whole; zeros elsewhere.
  template <int ROWS, int THREADS>
  static DEVICE_INLINE void fetch(unsigned char* tile, const T* from, long long stride, int rows, int columns) {
    constexpr int PASSES = (ROWS * CHUNKS + THREADS - 1) / THREADS;
    constexpr bool WHOLE_ROWS = THREADS % CHUNKS == 0, EVEN = ROWS * CHUNKS % THREADS == 0;
    // Each pass in flight holds an address, or without cp.async four words.
    constexpr int UNROLL = WEFT_ARCH >= 800 && THREADS >= 128 ? 8 : 2;
    const int thread = threadIdx.x;
#pragma unroll UNROLL
    for (int pass = 0; pass < PASSES; pass++) {
      const int number = thread + pass * THREADS;
      const int row = WHOLE_ROWS ? thread / CHUNKS + pass * (THREADS / CHUNKS) : number / CHUNKS;
      const int chunk = WHOLE_ROWS ? thread % CHUNKS : number % CHUNKS;
      if (!EVEN && number >= ROWS * CHUNKS) break;
      const bool valid = row < rows && chunk * PER_CHUNK < columns;
      copy_16(tile + place(row, chunk), from + (valid ? row * stride + chunk * PER_CHUNK : 0), valid);
    }
  }
};

// Columns `column` and the next of a row of `columns` elements, whose rows lie at multiples of two where `columns` is.
template <class T>
DEVICE_INLINE void store_pair(T* row, int column, int columns, float x, float y) {
  if (columns % 2 == 0) {
    if (column < columns) *reinterpret_cast<Vector<T, 2>*>(row + column) = {{T(x), T(y)}};
  } else {
    if (column < columns) row[column] = T(x);
    if (column + 1 < columns) row[column + 1] = T(y);
  }
}
