// Products of a warp on tensor cores, by mma.sync from fragments that ldmatrix reads.
#pragma once
#include "attention/tile.cuh"

template <class T>
DEVICE_INLINE void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const unsigned b[2] = {b0, b1};
  if constexpr (WEFT_ARCH >= 800) {
    mma_m16n8k16<T>(sums, a, b);
  } else {  // Turing multiplies half as much of k at a time
    const unsigned low[2] = {a[0], a[1]}, high[2] = {a[2], a[3]};
    mma_m16n8k8<T>(sums, low, b[0]);
    mma_m16n8k8<T>(sums, high, b[1]);
  }
}

// T: f16 or bf16. Sums are arrays [M][N / 8][4] of 16 x 8 blocks.
template <class T>
struct Products {
  static constexpr int SCRATCH_PER_ROW = 0;  // bytes of shared memory that `rows_by_tile` needs for a column of weights

  // sums += A B^T: A are the rows [first, first + 16 M) of a tile, B the N rows of another; rows of K elements.
  template <int K, int M, int N8>
  static DEVICE_INLINE void tile_by_tile(float (&sums)[M][N8][4], const unsigned char* a, int first,
                                         const unsigned char* b) {
    using Rows = Tile<T, K>;
    const int lane = threadIdx.x % 32;
    const unsigned from_a = smem_u32(a), from_b = smem_u32(b);
#pragma unroll
    for (int step = 0; step < K / 16; step++) {
      unsigned left[M][4];
#pragma unroll
      for (int m = 0; m < M; m++)
        ldmatrix_x4(left[m], from_a + Rows::place(first + m * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
      for (int n = 0; n < N8; n += 2) {
        unsigned right[4];
        ldmatrix_x4(right, from_b + Rows::place(n * 8 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
#pragma unroll
        for (int m = 0; m < M; m++) {
          multiply_add<T>(sums[m][n], left[m], right[0], right[1]);
          multiply_add<T>(sums[m][n + 1], left[m], right[2], right[3]);
        }
      }
    }
  }

  // sums += value(W) B: W are fragments of 16 M rows and 8 K8 columns, which stay in registers; B the rows of a tile.
  template <int COLUMNS, int M, int K8, int N8, class Value>
  static DEVICE_INLINE void rows_by_tile(float (&sums)[M][N8][4], const float (&w)[M][K8][4], const unsigned char* b,
                                         Value value, unsigned char*) {
    using Rows = Tile<T, COLUMNS>;
    const int lane = threadIdx.x % 32;
    const unsigned from_b = smem_u32(b);
#pragma unroll
    for (int step = 0; step < K8 / 2; step++) {
      unsigned left[M][4];
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float (&block)[4] = w[m][step * 2 + i / 2];
          left[m][i] = pack<T>(value(block[i % 2 * 2]), value(block[i % 2 * 2 + 1]));
        }
#pragma unroll
      for (int n = 0; n < N8; n += 2) {
        unsigned right[4];
        ldmatrix_x4_trans(right, from_b + Rows::place(step * 16 + lane % 16, n + lane / 16));
#pragma unroll
        for (int m = 0; m < M; m++) {
          multiply_add<T>(sums[m][n], left[m], right[0], right[1]);
          multiply_add<T>(sums[m][n + 1], left[m], right[2], right[3]);
        }
      }
    }
  }

  // Puts fragments of 16 M rows from `first` on into a tile of 8 N8 columns.
  template <int M, int N8>
  static DEVICE_INLINE void put(unsigned char* tile, int first, const float (&w)[M][N8][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < N8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int place = Tile<T, N8 * 8>::place(first + m * 16 + lane / 4 + half * 8, n) + lane % 4 * 4;
          *reinterpret_cast<unsigned*>(tile + place) = pack<T>(w[m][n][half * 2], w[m][n][half * 2 + 1]);
        }
  }

  // sums += A^T B for tiles A (K x A_COLUMNS) and B (K x B_COLUMNS): rows from first_row and columns from first_column on.
  template <int K, int A_COLUMNS, int B_COLUMNS, int N8>
  static DEVICE_INLINE void flipped_by_tile(float (&sums)[N8][4], const unsigned char* a, int first_row,
                                            const unsigned char* b, int first_column) {
    const int lane = threadIdx.x % 32;
    const unsigned from_a = smem_u32(a), from_b = smem_u32(b);
#pragma unroll
    for (int step = 0; step < K / 16; step++) {
      unsigned left[4];
      const int k = step * 16 + lane / 16 * 8 + lane % 8;
      ldmatrix_x4_trans(left, from_a + Tile<T, A_COLUMNS>::place(k, first_row / 8 + lane / 8 % 2));
#pragma unroll
      for (int n = 0; n < N8; n += 2) {
        unsigned right[4];
        const int chunk = first_column / 8 + n + lane / 16;
        ldmatrix_x4_trans(right, from_b + Tile<T, B_COLUMNS>::place(step * 16 + lane % 16, chunk));
        multiply_add<T>(sums[n], left, right[0], right[1]);
        multiply_add<T>(sums[n + 1], left, right[2], right[3]);
      }
    }
  }
};
