// Matrix products by multiply-adds of single threads: float32 and float64 on every architecture, integers, and 16-bit
// floats where no tensor core takes them.
//
//   out = epilogue(op(A) op(B)),  A stored (M, K), or (K, M) with A_TRANSPOSED; B stored (K, N), or (N, K) with B_TRANSPOSED
//
// A block owns a tile of out, a warp a part of it, a lane a grid of THREAD_M x THREAD_N sums in pieces of 16 bytes, so
// that 4 x 8 lanes read shared memory without bank conflicts. Slices of TILE_K columns of A and rows of B lie in shared
// memory k by k, in two buffers: while one is multiplied, the next slice comes through registers into the other.
//
// Defines: TYPE; TILE_M, TILE_N, TILE_K, WARPS_M, WARPS_N, BLOCKS (per multiprocessor); A_TRANSPOSED, B_TRANSPOSED;
// A_VECTOR, B_VECTOR: 1 where pointer, strides and length of the rows allow VECTOR elements at a time; and those of
// epilogue.cuh.
#include "epilogue.cuh"

constexpr int LANES_M = 4, LANES_N = 8;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int WARP_M = TILE_M / WARPS_M, WARP_N = TILE_N / WARPS_N;
constexpr int THREAD_M = WARP_M / LANES_M, THREAD_N = WARP_N / LANES_N;
constexpr int VECTOR = 16 / sizeof(COMPUTE);
static_assert(THREAD_M % VECTOR == 0 && THREAD_N % VECTOR == 0, "a lane owns whole pieces of 16 bytes");

// The slices of one operand. K_MAJOR: in global memory the elements along k lie together, and are transposed on their
// way into shared memory. A thread copies VECTOR elements in each pass: two neighbours along k, if that is how elements
// lie (32 bytes, what memory moves at least, and no more, to keep the transposed writes apart), else a row together.
template <bool K_MAJOR, int TILE, bool WHOLE>
struct Slices {
  static constexpr int PITCH = TILE + 4;  // transposed writes of neighbouring k fall into different banks
  static constexpr int PASSES = TILE * TILE_K / VECTOR / THREADS;
  static constexpr int WIDTH = K_MAJOR ? TILE : TILE / VECTOR;     // threads side by side along the tile
  static constexpr int AT_ONCE = K_MAJOR ? THREADS / 2 : THREADS;  // threads that have different places there
  static constexpr int ALONG = K_MAJOR ? 1 : VECTOR, DOWN = K_MAJOR ? 2 * VECTOR : 1;
  static_assert(PASSES * THREADS * VECTOR == TILE * TILE_K && TILE_K % DOWN == 0, "threads copy whole slices");
  static_assert((WIDTH & (WIDTH - 1)) == 0 && (AT_ONCE & (AT_ONCE - 1)) == 0, "passes differ by constants");

  const TYPE* source;  // this thread's first element of the next slice
  long long stride;
  int along_left, k_left;  // elements of the matrix from there on
  Pack<TYPE, VECTOR> held[PASSES];

  // Where a thread's elements of the first pass lie in the slice, and how far on those of another pass.
  static DEVICE_INLINE int along() { return (K_MAJOR ? threadIdx.x / 2 : threadIdx.x) % WIDTH * ALONG; }
  static DEVICE_INLINE int down() {
    return K_MAJOR ? threadIdx.x / 2 / WIDTH * DOWN + threadIdx.x % 2 * VECTOR : threadIdx.x / WIDTH;
  }
  static DEVICE_INLINE constexpr int along_of(int pass) { return pass * AT_ONCE % WIDTH * ALONG; }
  static DEVICE_INLINE constexpr int down_of(int pass) { return pass * AT_ONCE / WIDTH * DOWN; }

  DEVICE_INLINE Slices(const TYPE* data, long long stride, int first, int length, int k_first, int k_end)
      : stride(stride), along_left(length - first - along()), k_left(k_end - k_first - down()) {
    const int a = first + along(), k = k_first + down();
    source = data + (K_MAJOR ? a * stride + k : k * stride + a);
  }

  // Reads the next slice into registers, zeros where the matrix ends, and steps to the one after it.
  DEVICE_INLINE void fetch() {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int a = along_of(pass), k = down_of(pass);
      const int rows = K_MAJOR ? along_left - a : k_left - k, columns = K_MAJOR ? k_left - k : along_left - a;
      const TYPE* from = source + (K_MAJOR ? a * stride + k : k * stride + a);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) held[pass].at[v] = TYPE(0);
      if (rows > 0) {
        if constexpr (WHOLE) {
          if (columns > 0) held[pass] = *reinterpret_cast<const Pack<TYPE, VECTOR>*>(from);
        } else {
#pragma unroll
          for (int v = 0; v < VECTOR; v++)
            if (v < columns) held[pass].at[v] = from[v];
        }
      }
    }
    source += K_MAJOR ? TILE_K : TILE_K * stride;
    k_left -= TILE_K;
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

using SlicesA = Slices<!A_TRANSPOSED, TILE_M, A_VECTOR>;
using SlicesB = Slices<B_TRANSPOSED, TILE_N, B_VECTOR>;

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

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    gemm_simt(const TYPE* a, const TYPE* b, OUT* out, const BIAS_TYPE* bias, OUT* aux, const OUT* residual,
              const Problem problem) {
  alignas(16) __shared__ COMPUTE shared_a[2][TILE_K][SlicesA::PITCH];
  alignas(16) __shared__ COMPUTE shared_b[2][TILE_K][SlicesB::PITCH];
  __shared__ TileIndex at;  // divided out once, and kept out of the registers of the main loop
  if (threadIdx.x == 0) at = tile_index(problem, blockIdx.x);
  __syncthreads();
  const int first_m = at.m * TILE_M, first_n = at.n * TILE_N;
  const int k_first = at.split * problem.k_split, k_end = min(problem.k, k_first + problem.k_split);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int m = warp / WARPS_N * WARP_M + lane / LANES_N * VECTOR,
            n = warp % WARPS_N * WARP_N + lane % LANES_N * VECTOR;

  SlicesA slices_a(a + at.outer * problem.a_outer + at.inner * problem.a_inner, problem.a_stride, first_m, problem.m,
                   k_first, k_end);
  SlicesB slices_b(b + at.outer * problem.b_outer + at.inner * problem.b_inner, problem.b_stride, first_n, problem.n,
                   k_first, k_end);
  slices_a.fetch();
  slices_b.fetch();
  slices_a.store(shared_a[0]);
  slices_b.store(shared_b[0]);
  __syncthreads();

  COMPUTE sums[THREAD_M][THREAD_N] = {};
  int buffer = 0;
  for (int k = k_first; k < k_end; k += TILE_K) {
    slices_a.fetch();
    slices_b.fetch();
#pragma unroll
    for (int kk = 0; kk < TILE_K; kk++) {
      COMPUTE x[THREAD_M], y[THREAD_N];
      read<THREAD_M, LANES_M>(x, &shared_a[buffer][kk][m]);
      read<THREAD_N, LANES_N>(y, &shared_b[buffer][kk][n]);
#pragma unroll
      for (int i = 0; i < THREAD_M; i++)
#pragma unroll
        for (int j = 0; j < THREAD_N; j++) sums[i][j] += x[i] * y[j];
    }
    buffer ^= 1;
    slices_a.store(shared_a[buffer]);
    slices_b.store(shared_b[buffer]);
    __syncthreads();
  }

  const Epilogue epilogue(problem, out + at.split * problem.split_stride, bias, aux, residual, at.outer, at.inner);
#pragma unroll
  for (int i = 0; i < THREAD_M; i++)
#pragma unroll
    for (int piece = 0; piece < THREAD_N / VECTOR; piece++) {
      COMPUTE x[VECTOR];
#pragma unroll
      for (int v = 0; v < VECTOR; v++) x[v] = sums[i][piece * VECTOR + v];
      epilogue.apply<VECTOR>(x, at.m * TILE_M + m + i / VECTOR * LANES_M * VECTOR + i % VECTOR,
                             at.n * TILE_N + n + piece * LANES_N * VECTOR);
    }
}
EXPORT_KERNEL(gemm_simt)
