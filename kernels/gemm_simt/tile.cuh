// How a block computes a tile of a product by multiply-adds of single threads; gemm_simt.cu and conv_simt.cu differ in
// where the slices of their operands come from.
//
// A block owns a tile of out, a warp a part of it, a lane a grid of THREAD_M x THREAD_N sums in pieces of 16 bytes, so
// that 4 x 8 lanes read shared memory without bank conflicts. Slices of TILE_K columns of A and rows of B lie in shared
// memory k by k, in two buffers: while one is multiplied, the next slice comes through registers into the other.
//
// Defines: TYPE; TILE_M, TILE_N, TILE_K, WARPS_M, WARPS_N, BLOCKS (per multiprocessor); and those of epilogue.cuh.
#pragma once
#include "epilogue.cuh"

constexpr int LANES_M = 4, LANES_N = 8;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int WARP_M = TILE_M / WARPS_M, WARP_N = TILE_N / WARPS_N;
constexpr int THREAD_M = WARP_M / LANES_M, THREAD_N = WARP_N / LANES_N;
constexpr int VECTOR = 16 / sizeof(COMPUTE);
// Steps along k that the compiler may interleave: all of a slice, but few of 64-bit integers. Their multiplications are
// three instructions each, and with many at hand ptxas keeps so many halves that they spill.
constexpr int STEPS = sizeof(COMPUTE) == 8 && COMPUTE(1) / COMPUTE(2) == COMPUTE(0) ? 4 : TILE_K;
static_assert(THREAD_M % VECTOR == 0 && THREAD_N % VECTOR == 0, "a lane owns whole pieces of 16 bytes");

// A slice of one operand on its way. K_MAJOR: in global memory the elements along k lie together, and are transposed on
// their way into shared memory. A thread copies VECTOR elements in each pass: two neighbours along k, if that is how
// elements lie (32 bytes, what memory moves at least, and no more, to keep the transposed writes apart), else a row
// together.
template <bool K_MAJOR, int TILE>
struct Staging {
  static constexpr int PITCH = TILE + 4;  // transposed writes of neighbouring k fall into different banks
  static constexpr int PASSES = TILE * TILE_K / VECTOR / THREADS;
  static constexpr int WIDTH = K_MAJOR ? TILE : TILE / VECTOR;     // threads side by side along the tile
  static constexpr int AT_ONCE = K_MAJOR ? THREADS / 2 : THREADS;  // threads that have different places there
  static constexpr int ALONG = K_MAJOR ? 1 : VECTOR, DOWN = K_MAJOR ? 2 * VECTOR : 1;
  static_assert(PASSES * THREADS * VECTOR == TILE * TILE_K && TILE_K % DOWN == 0, "threads copy whole slices");
  static_assert((WIDTH & (WIDTH - 1)) == 0 && (AT_ONCE & (AT_ONCE - 1)) == 0, "passes differ by constants");

  Pack<TYPE, VECTOR> held[PASSES];

  // Where a thread's elements of the first pass lie in the slice, and how far on those of another pass.
  static DEVICE_INLINE int along() { return (K_MAJOR ? threadIdx.x / 2 : threadIdx.x) % WIDTH * ALONG; }
  static DEVICE_INLINE int down() {
    return K_MAJOR ? threadIdx.x / 2 / WIDTH * DOWN + threadIdx.x % 2 * VECTOR : threadIdx.x / WIDTH;
  }
  static DEVICE_INLINE constexpr int along_of(int pass) { return pass * AT_ONCE % WIDTH * ALONG; }
  static DEVICE_INLINE constexpr int down_of(int pass) { return pass * AT_ONCE / WIDTH * DOWN; }

  // Takes the elements of a pass from memory, or zeros.
  DEVICE_INLINE void take(int pass, const TYPE* from, bool inside) {
#pragma unroll
    for (int v = 0; v < VECTOR; v++) held[pass].at[v] = TYPE(0);
    if (inside) held[pass] = *reinterpret_cast<const Pack<TYPE, VECTOR>*>(from);
  }

  DEVICE_INLINE void store(COMPUTE (*slice)[PITCH]) const {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int a = along() + along_of(pass), k = down() + down_of(pass);
      Pack<COMPUTE, VECTOR> x;
#pragma unroll
      for (int v = 0; v < VECTOR; v++) x.at[v] = COMPUTE(held[pass].at[v]);
      if constexpr (K_MAJOR) {
#pragma unroll
        for (int v = 0; v < VECTOR; v++) slice[k + v][a] = x.at[v];
      } else {
        *reinterpret_cast<Pack<COMPUTE, VECTOR>*>(&slice[k][a]) = x;
      }
    }
  }
};

// The slices of a matrix. WHOLE: pointer, stride and length of the rows allow VECTOR elements at a time.
template <bool K_MAJOR, int TILE, bool WHOLE>
struct Slices : Staging<K_MAJOR, TILE> {
  using Staging = ::Staging<K_MAJOR, TILE>;
  using Staging::along_of, Staging::down_of, Staging::held;

  const TYPE* source;  // this thread's first element of the next slice
  long long stride;
  int along_left, k_left;  // elements of the matrix from there on

  DEVICE_INLINE Slices(const TYPE* data, long long stride, int first, int length, int k_first, int k_end)
      : stride(stride), along_left(length - first - Staging::along()), k_left(k_end - k_first - Staging::down()) {
    const int a = first + Staging::along(), k = k_first + Staging::down();
    source = data + (K_MAJOR ? a * stride + k : k * stride + a);
  }

  // Reads the next slice into registers, zeros where the matrix ends, and steps to the one after it.
  DEVICE_INLINE void fetch() {
#pragma unroll
    for (int pass = 0; pass < Staging::PASSES; pass++) {
      const int a = along_of(pass), k = down_of(pass);
      const int rows = K_MAJOR ? along_left - a : k_left - k, columns = K_MAJOR ? k_left - k : along_left - a;
      const TYPE* from = source + (K_MAJOR ? a * stride + k : k * stride + a);
      if constexpr (WHOLE) {
        Staging::take(pass, from, rows > 0 && columns > 0);
      } else {
#pragma unroll
        for (int v = 0; v < VECTOR; v++) held[pass].at[v] = TYPE(0);
        if (rows > 0) {
#pragma unroll
          for (int v = 0; v < VECTOR; v++)
            if (v < columns) held[pass].at[v] = from[v];
        }
      }
    }
    source += K_MAJOR ? TILE_K : TILE_K * stride;
    k_left -= TILE_K;
  }
};

// A lane's COUNT values of one k: pieces of VECTOR, LANES pieces apart.
template <int COUNT, int LANES>
DEVICE_INLINE void read(COMPUTE (&x)[COUNT], const COMPUTE* row) {
#pragma unroll
  for (int piece = 0; piece < COUNT / VECTOR; piece++) {
    const Pack<COMPUTE, VECTOR> values = *reinterpret_cast<const Pack<COMPUTE, VECTOR>*>(row + piece * LANES * VECTOR);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) x[piece * VECTOR + v] = values.at[v];
  }
}

// The sums of one lane, the first of which lies at (m, n) of the tile.
struct Sums {
  COMPUTE at[THREAD_M][THREAD_N] = {};
  int m, n;

  DEVICE_INLINE Sums() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    m = warp / WARPS_N * WARP_M + lane / LANES_N * VECTOR;
    n = warp % WARPS_N * WARP_N + lane % LANES_N * VECTOR;
  }

  // Adds the product of all slices, `depth` of k deep.
  template <class A, class B>
  DEVICE_INLINE void add(A& slices_a, B& slices_b, COMPUTE (*shared_a)[TILE_K][A::PITCH],
                         COMPUTE (*shared_b)[TILE_K][B::PITCH], int depth) {
    slices_a.fetch();
    slices_b.fetch();
    slices_a.store(shared_a[0]);
    slices_b.store(shared_b[0]);
    __syncthreads();
    int buffer = 0;
    for (int k = 0; k < depth; k += TILE_K) {
      slices_a.fetch();
      slices_b.fetch();
#pragma unroll STEPS
      for (int kk = 0; kk < TILE_K; kk++) {
        COMPUTE x[THREAD_M], y[THREAD_N];
        read<THREAD_M, LANES_M>(x, &shared_a[buffer][kk][m]);
        read<THREAD_N, LANES_N>(y, &shared_b[buffer][kk][n]);
#pragma unroll
        for (int i = 0; i < THREAD_M; i++)
#pragma unroll
          for (int j = 0; j < THREAD_N; j++) at[i][j] += x[i] * y[j];
      }
      buffer ^= 1;
      slices_a.store(shared_a[buffer]);
      slices_b.store(shared_b[buffer]);
      __syncthreads();
    }
  }

  // Calls write(x, row, column) for VECTOR neighbouring sums at a time, where they lie in the tile.
  template <class Write>
  DEVICE_INLINE void each(Write write) const {
#pragma unroll
    for (int i = 0; i < THREAD_M; i++)
#pragma unroll
      for (int piece = 0; piece < THREAD_N / VECTOR; piece++) {
        COMPUTE x[VECTOR];
#pragma unroll
        for (int v = 0; v < VECTOR; v++) x[v] = at[i][piece * VECTOR + v];
        write(x, m + i / VECTOR * LANES_M * VECTOR + i % VECTOR, n + piece * LANES_N * VECTOR);
      }
  }
};
