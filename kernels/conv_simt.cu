// Convolutions and their gradients by multiply-adds of single threads: float32 and float64 on every architecture, and
// 16-bit floats where no tensor core takes them. The products are those of conv/geometry.cuh; the windows of the
// gathered image are read where they lie, as the slices of a matrix would be.
//
// Defines: those of gemm_simt/tile.cuh and conv/geometry.cuh.
#include "gemm_simt/tile.cuh"
#include "conv/geometry.cuh"

constexpr int NOWHERE = -(1 << 30);  // a row of windows outside of every image

// Slices of A: windows, a row for each pixel of out.
struct RowsOfWindows : Staging<true, TILE_M> {
  const TYPE* image;
  const Task& task;
  Window at[PASSES];
  int k;

  DEVICE_INLINE RowsOfWindows(const TYPE* image, const Task& task)
      : image(image + task.at.inner * task.geometry.channels), task(task), k(task.k_first + down()) {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int row = task.at.m * TILE_M + along() + along_of(pass);
      at[pass] = Pixel(task.windows, row).window(task.windows);
      if (row >= task.rows) at[pass].h = NOWHERE;
    }
  }

  DEVICE_INLINE void fetch() {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int column = k + down_of(pass);
      const Place place = task.windows.at(column);
      take(pass, image + at[pass].offset(task.windows, place),
           column < task.k_end && at[pass].inside(task.windows, place));
    }
    k += TILE_K;
  }
};

// Slices of B: filters, a row in memory for each column of out.
struct Filters : Staging<true, TILE_N> {
  const TYPE* source;
  const Task& task;
  int left;  // filters from this thread's first on
  int k;

  DEVICE_INLINE Filters(const TYPE* filters, const Task& task)
      : task(task), left(task.problem.n - task.at.n * TILE_N - along()), k(task.k_first + down()) {
    source = filters + task.at.inner * task.problem.b_inner + (task.at.n * TILE_N + along()) * task.problem.b_stride;
  }

  DEVICE_INLINE void fetch() {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int row = k + down_of(pass);
      const TYPE* from = source + along_of(pass) * task.problem.b_stride + task.windows.at(row).filter;
      take(pass, from, row < task.k_end && along_of(pass) < left);
    }
    k += TILE_K;
  }
};

// Slices of A: the gradient of the convolution's result, a row for each pixel that is summed over.
struct Gradients : Slices<false, TILE_M, true> {
  DEVICE_INLINE Gradients(const TYPE* g, const Task& task)
      : Slices(g + task.at.inner * task.problem.a_inner, task.problem.a_stride, task.at.m * TILE_M, task.rows,
               task.k_first, task.k_end) {}
};

// Slices of B: windows, a row for each pixel that is summed over; a thread's columns are VECTOR channels of one tap.
struct ColumnsOfWindows : Staging<false, TILE_N> {
  const TYPE* image;
  const Task& task;
  Place place;
  bool inside;
  int k;
  static_assert(WEIGHT_GRAD <= (AT_ONCE >= WIDTH), "a thread has one column");

  DEVICE_INLINE ColumnsOfWindows(const TYPE* image, const Task& task)
      : image(image + task.at.inner * task.geometry.channels), task(task), k(task.k_first + down()) {
    inside = task.at.n * TILE_N + along() < task.problem.n;
    place = task.windows.at(task.at.n * TILE_N + along());
  }

  DEVICE_INLINE void fetch() {
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      const int row = k + down_of(pass);
      const Window window = Pixel(task.geometry, row).window(task.windows);
      take(pass, image + window.offset(task.windows, place),
           inside && row < task.k_end && window.inside(task.windows, place));
    }
    k += TILE_K;
  }
};

using SlicesA = Choose<WEIGHT_GRAD, Gradients, RowsOfWindows>::type;
using SlicesB = Choose<WEIGHT_GRAD, ColumnsOfWindows, Filters>::type;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_simt(const TYPE* image, const TYPE* other, OUT* out, const BIAS_TYPE* bias, const Problem problem,
              const Geometry geometry) {
  alignas(16) __shared__ COMPUTE shared_a[2][TILE_K][SlicesA::PITCH];
  alignas(16) __shared__ COMPUTE shared_b[2][TILE_K][SlicesB::PITCH];
  __shared__ TileIndex at;  // divided out once, and kept out of the registers of the main loop
  if (threadIdx.x == 0) at = tile_index(problem, blockIdx.x);
  __syncthreads();
  const Task task(problem, geometry, at);
  const int first_m = task.at.m * TILE_M, first_n = task.at.n * TILE_N, group = task.at.inner;
  if (first_m >= task.rows) return;  // phases differ in size

  SlicesA slices_a(WEIGHT_GRAD ? other : image, task);
  SlicesB slices_b(WEIGHT_GRAD ? image : other, task);
  Sums sums;
  sums.add(slices_a, slices_b, shared_a, shared_b, task.k_end - task.k_first);

  if constexpr (Epilogue::BIAS_BY == Bias::column) bias += group * problem.n;
  const Epilogue epilogue(problem, out + task.at.split * problem.split_stride, bias, nullptr, nullptr, 0, group);
  sums.each([&](COMPUTE(&x)[VECTOR], int row, int column) {
    if (first_m + row < task.rows) epilogue.apply<VECTOR>(x, task.row_of_all(first_m + row), first_n + column);
  });
}
EXPORT_KERNEL(conv_simt)
