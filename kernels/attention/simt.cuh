// Products of a warp in IEEE arithmetic, by fused multiply-adds. A thread holds the same elements as a lane of mma.sync
// does: rows g and g + 8 of each 16, columns 2t and 2t + 1 of each 8.
#pragma once
#include "attention/tile.cuh"

// T: float. Sums are arrays [M][N / 8][4] of 16 x 8 blocks.
template <class T>
struct Products {
  static constexpr int SCRATCH_PER_ROW = sizeof(T);
  static constexpr int PAD = 4;  // elements after a row of the scratch: rows then lie in different banks
  using Four = Vector<T, 4>;
  using Two = Vector<T, 2>;

  template <int COLUMNS>
  static DEVICE_INLINE Four four(const unsigned char* tile, int row, int chunk) {
    return *reinterpret_cast<const Four*>(tile + Tile<T, COLUMNS>::place(row, chunk));
  }
  template <int COLUMNS>
  static DEVICE_INLINE Two two(const unsigned char* tile, int row, int column) {
    return *reinterpret_cast<const Two*>(tile + Tile<T, COLUMNS>::place(row, column / 4) + column % 4 * sizeof(T));
  }

  template <int K, int M, int N8>
  static DEVICE_INLINE void tile_by_tile(float (&sums)[M][N8][4], const unsigned char* a, int first,
                                         const unsigned char* b) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 1
    for (int chunk = 0; chunk < K / 4; chunk++) {
      Four left[M][2];
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) left[m][half] = four<K>(a, first + m * 16 + half * 8 + g, chunk);
#pragma unroll
      for (int n = 0; n < N8; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          const Four right = four<K>(b, n * 8 + t * 2 + c, chunk);
#pragma unroll
          for (int m = 0; m < M; m++)
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
              for (int k = 0; k < 4; k++)
                sums[m][n][half * 2 + c] = fmaf(left[m][half].at[k], right.at[k], sums[m][n][half * 2 + c]);
        }
    }
  }

  // The weights pass through `scratch`, 16 M rows of the warp's own, so that four of a row come in one access.
  template <int COLUMNS, int M, int K8, int N8, class Value>
  static DEVICE_INLINE void rows_by_tile(float (&sums)[M][N8][4], const float (&w)[M][K8][4], const unsigned char* b,
                                         Value value, unsigned char* scratch) {
    constexpr int PITCH = K8 * 8 + PAD;
    T* const rows = reinterpret_cast<T*>(scratch);
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < K8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          *reinterpret_cast<Two*>(rows + (m * 16 + half * 8 + g) * PITCH + n * 8 + t * 2) = {
              value(w[m][n][half * 2]), value(w[m][n][half * 2 + 1])};
    __syncwarp();
#pragma unroll 1
    for (int first = 0; first < K8 * 8; first += 4) {
      Four left[M][2];
#pragma unroll
      for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          left[m][half] = *reinterpret_cast<const Four*>(rows + (m * 16 + half * 8 + g) * PITCH + first);
#pragma unroll
      for (int k = 0; k < 4; k++)
#pragma unroll
        for (int n = 0; n < N8; n++) {
          const Two right = two<COLUMNS>(b, first + k, n * 8 + t * 2);
#pragma unroll
          for (int m = 0; m < M; m++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[m][n][e] = fmaf(left[m][e / 2].at[k], right.at[e % 2], sums[m][n][e]);
        }
    }
  }

  template <int M, int N8>
  static DEVICE_INLINE void put(unsigned char* tile, int first, const float (&w)[M][N8][4]) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < N8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int column = n * 8 + t * 2;
          const int place = Tile<T, N8 * 8>::place(first + m * 16 + g + half * 8, column / 4) + column % 4 * sizeof(T);
          *reinterpret_cast<Two*>(tile + place) = {w[m][n][half * 2], w[m][n][half * 2 + 1]};
        }
  }

  template <int K, int A_COLUMNS, int B_COLUMNS, int N8>
  static DEVICE_INLINE void flipped_by_tile(float (&sums)[N8][4], const unsigned char* a, int first_row,
                                            const unsigned char* b, int first_column) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 4
    for (int k = 0; k < K; k++) {
      T left[2];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int column = first_row + g + half * 8;
        left[half] = *reinterpret_cast<const T*>(a + Tile<T, A_COLUMNS>::place(k, column / 4) + column % 4 * sizeof(T));
      }
#pragma unroll
      for (int n = 0; n < N8; n++) {
        const Two right = two<B_COLUMNS>(b, k, first_column + n * 8 + t * 2);
#pragma unroll
        for (int e = 0; e < 4; e++) sums[n][e] = fmaf(left[e / 2], right.at[e % 2], sums[n][e]);
      }
    }
  }
};
