// Convolutions and their gradients on tensor cores by mma.sync, for every generation since Turing: the products of
// conv/geometry.cuh, their windows copied by cp.async from where they lie in the image to where a slice of a matrix would
// have them.
//
// Defines: those of gemm_mma/tile.cuh and conv/geometry.cuh. A_BYTES, B_BYTES: 8 where channels come by fours of 16 bits.
#include "gemm_mma/tile.cuh"
#include "conv/geometry.cuh"

// Slices of A: windows, a row for each pixel of out.
struct RowsOfWindows : Ring<true, TILE_M, A_BYTES> {
  const TYPE* image;
  const Task& task;
  int pixels[PASSES];     // of the windows' first taps
  unsigned taps[PASSES];  // of the windows, that are inside
  Place places[PIECES];   // of this thread's columns in the slice that was fetched last
  int k;                  // the first of those in the next slice

  DEVICE_INLINE RowsOfWindows(const TYPE* image, const Task& task)
      : image(image + task.at.inner * task.geometry.channels), task(task), k(task.k_first + chunk * PER_CHUNK) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int pixel = task.at.m * TILE_M + row + pass * ROWS_AT_ONCE;
      const Window window = Pixel(task.windows, pixel).window(task.windows);
      pixels[pass] = window.pixel;
      taps[pass] = pixel < task.rows ? window.taps(task.windows) : 0;
    }
  }

  DEVICE_INLINE bool ends(int piece) const { return k - TILE_K + piece * PIECE >= task.k_end; }

  DEVICE_INLINE void fetch(unsigned slice) {
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) places[piece] = task.windows.at(k + piece * PIECE);
    k += TILE_K;
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      take(
          pass, slice,
          [&](int piece) { return image + (long long)(pixels[pass]) * task.windows.pixel + places[piece].offset; },
          [&](int piece) { return !ends(piece) && (taps[pass] & places[piece].taps) == places[piece].taps; });
    }
  }
};

// Slices of B: filters, a row in memory for each column of out. Their columns are those of the windows fetched before.
struct Filters : Ring<true, TILE_N, B_BYTES> {
  const TYPE* source;
  const RowsOfWindows& windows;
  long long stride;
  int left;  // filters from this thread's first on
  static_assert(A_BYTES == B_BYTES || WEIGHT_GRAD, "both are read by the same columns");

  DEVICE_INLINE Filters(const TYPE* filters, const Task& task, const RowsOfWindows& windows)
      : windows(windows), stride(task.problem.b_stride), left(task.problem.n - task.at.n * TILE_N - row) {
    source = filters + task.at.inner * task.problem.b_inner + (task.at.n * TILE_N + row) * stride;
  }

  DEVICE_INLINE void fetch(unsigned slice) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const TYPE* from = source + pass * ROWS_AT_ONCE * stride;
      take(
          pass, slice, [&](int piece) { return from + windows.places[piece].filter; },
          [&](int piece) { return pass * ROWS_AT_ONCE < left && !windows.ends(piece); });
    }
  }
};

// Slices of A: the gradient of the convolution's result, a row for each pixel that is summed over.
struct Gradients : Slices<false, TILE_M, A_BYTES> {
  DEVICE_INLINE Gradients(const TYPE* g, const Task& task)
      : Slices(g + task.at.inner * task.problem.a_inner, task.problem.a_stride, task.at.m * TILE_M, task.rows,
               task.k_first, task.k_end) {}
};

// Slices of B: windows, a row for each pixel that is summed over; a thread's columns are channels of the same taps.
struct ColumnsOfWindows : Ring<false, TILE_N, B_BYTES> {
  const TYPE* image;
  const Task& task;
  Place places[PIECES];
  int pixel;  // of this thread's first row in the next slice

  DEVICE_INLINE ColumnsOfWindows(const TYPE* image, const Task& task, const Gradients&)
      : image(image + task.at.inner * task.geometry.channels), task(task), pixel(task.k_first + row) {
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) {
      const int column = task.at.n * TILE_N + chunk * PER_CHUNK + piece * PIECE;
      places[piece] = task.windows.at(column);
      if (column >= task.problem.n) places[piece].h = -(1 << 30);  // outside of every image
    }
  }

  DEVICE_INLINE void fetch(unsigned slice) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int now = pixel + pass * ROWS_AT_ONCE;
      const Window window = Pixel(task.geometry, now).window(task.windows);
      take(
          pass, slice, [&](int piece) { return image + window.offset(task.windows, places[piece]); },
          [&](int piece) { return now < task.k_end && window.inside(task.windows, places[piece]); });
    }
    pixel += TILE_K;
  }
};

using SlicesA = Choose<WEIGHT_GRAD, Gradients, RowsOfWindows>::type;
using SlicesB = Choose<WEIGHT_GRAD, ColumnsOfWindows, Filters>::type;

// The epilogue of a phase, whose rows lie apart.
struct RowsOfPhase {
  const Epilogue& epilogue;
  const Task& task;
  bool aligned;

  template <int V>
  DEVICE_INLINE void apply(float (&x)[V], int row, int column) const {
    if (row < task.rows) epilogue.apply<V>(x, task.row_of_all(row), column);
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_mma(const TYPE* image, const TYPE* other, OUT* out, const BIAS_TYPE* bias, const Problem problem,
             const Geometry geometry) {
  DYNAMIC_SHARED(unsigned char, shared, 128);
  const TileIndex at = tile_index(problem, blockIdx.x);
  const Task task(problem, geometry, at);
  const int first_m = at.m * TILE_M, first_n = at.n * TILE_N, group = at.inner;
  if (first_m >= task.rows) return;  // phases differ in size
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / WARPS_N * WARP_M, warp_n = warp % WARPS_N * WARP_N;

  SlicesA slices_a(WEIGHT_GRAD ? other : image, task);
  SlicesB slices_b(WEIGHT_GRAD ? image : other, task, slices_a);
  float sums[BLOCKS_M][BLOCKS_N][4] = {};
  accumulate(sums, slices_a, slices_b, shared, warp_m, warp_n, task.k_end - task.k_first);

  if constexpr (Epilogue::BIAS_BY == Bias::column) bias += group * problem.n;
  const Epilogue epilogue(problem, out + at.split * problem.split_stride, bias, nullptr, nullptr, 0, group);
  const RowsOfPhase rows = {epilogue, task, epilogue.aligned};
  write_out(rows, sums, reinterpret_cast<float*>(shared) + warp * 16 * PITCH, first_m + warp_m, first_n + warp_n, lane);
}
EXPORT_KERNEL(conv_mma)
