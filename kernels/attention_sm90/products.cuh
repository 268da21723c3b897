// What the kernels of attention on Hopper share: rows of a head in shared memory, products of them, and their way out.
//
// Rows lie in boxes of 64 columns, 128 bytes swizzled as TMA does, one box behind the other. A warpgroup owns 64 rows;
// lane 4g + t of its warp w holds, of a product, in registers 4j .. 4j + 3 columns 8j + 2t and 8j + 2t + 1 of rows
// 16w + g and 16w + g + 8.
#pragma once
#include "common.cuh"

constexpr int ROW = 128;          // bytes of a row of a box
constexpr int COLUMNS = ROW / 2;  // elements in it
constexpr int ROWS = 64;          // that a warpgroup owns
constexpr int BOX_BYTES = ROWS * ROW;

// Registers of a thread: of a warpgroup that feeds, and of those that compute. They move within what a block was launched
// with; a warpgroup that asks for more waits for ever.
template <int CONSUMERS_, int FEWER_, int MORE_>
struct Registers {
  static constexpr int FEWER = FEWER_, MORE = MORE_, THREADS = 128 * (1 + CONSUMERS_);
  static_assert(FEWER + CONSUMERS_ * MORE <= (1 + CONSUMERS_) * (65536 / THREADS / 8 * 8), "more than there are");
};

constexpr int boxes(int columns) { return (columns + COLUMNS - 1) / COLUMNS; }

// Columns of sums: wgmma reads a right factor whose rows run across by whole boxes.
constexpr int whole(int columns) { return boxes(columns) * COLUMNS; }

// Loads boxes of BYTES, side by side; they count to the mbarrier `full`.
template <int COUNT, int BYTES>
DEVICE_INLINE void load_boxes(unsigned to, const TensorMap* map, unsigned full, int row, int head, int batch) {
#pragma unroll
  for (int box = 0; box < COUNT; box++) tma_load_4d(to + box * BYTES, map, full, box * COLUMNS, row, head, batch);
}

// s = a b^T, a 64 and b N rows of HEAD columns. Descriptors count in 16 bytes: 16 columns are two of them, the next 64
// columns lie in the next box.
template <class TYPE_, int N, int HEAD_>
DEVICE_INLINE void multiply_rows(float (&s)[N / 2], unsigned long long a, unsigned long long b) {
#pragma unroll
  for (int step = 0; step < HEAD_ / 16; step++) {
    const int box = step / 4, at = step % 4 * 2;
    wgmma<N, TYPE_, 0, 0>(s, a + box * (BOX_BYTES / 16) + at, b + box * (N * ROW / 16) + at, step > 0);
  }
  wgmma_commit();
}

// sums (+)= weights b, weights of 64 rows and N columns in registers, b N rows; 16 columns of one are 16 rows of the other.
template <class TYPE_, int N, int HEAD_>
DEVICE_INLINE void multiply_weights(float (&sums)[HEAD_ / 2], const unsigned (&weights)[N / 16][4],
                                    unsigned long long b, bool overwrite) {
  static_assert(HEAD_ % COLUMNS == 0, "whole boxes");
#pragma unroll
  for (int step = 0; step < N / 16; step++)
    wgmma<HEAD_, TYPE_, 1>(sums, weights[step], b + step * (16 * ROW / 16), step > 0 || !overwrite);
  wgmma_commit();
}

// A product of eight columns is half of a fragment of a left factor.
template <class TYPE_, int N>
DEVICE_INLINE void round_weights(unsigned (&weights)[N / 16][4], const float (&s)[N / 2]) {
#pragma unroll
  for (int step = 0; step < N / 16; step++)
#pragma unroll
    for (int i = 0; i < 4; i++) weights[step][i] = pack<TYPE_>(s[8 * step + 2 * i], s[8 * step + 2 * i + 1]);
}

// The rows of a warpgroup into a buffer of boxes, the two of each thread times `scale`.
template <class TYPE_, int HEAD_>
DEVICE_INLINE void put_rows(unsigned buffer, const float (&sums)[HEAD_ / 2], const float (&scale)[2]) {
  const int lane = threadIdx.x % 32, line = threadIdx.x % 128 / 32 * 16 + lane % 16;
  const unsigned at = buffer + line * ROW + ((lane / 16 ^ line % 8) << 4);
#pragma unroll
  for (int j = 0; j < HEAD_ / 16; j++) {
    unsigned r[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
      r[i] = pack<TYPE_>(sums[8 * j + 2 * i] * scale[i % 2], sums[8 * j + 2 * i + 1] * scale[i % 2]);
    stmatrix_x4((at ^ j % 4 << 5) + j / 4 * BOX_BYTES, r);
  }
}

// One thread hands the buffer to TMA.
template <int COUNT>
DEVICE_INLINE void store_boxes(const TensorMap* map, unsigned buffer, int row, int head, int batch) {
#pragma unroll
  for (int box = 0; box < COUNT; box++) tma_store_4d(map, buffer + box * BOX_BYTES, box * COLUMNS, row, head, batch);
  bulk_commit();
}
