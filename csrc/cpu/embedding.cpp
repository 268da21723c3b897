#include "embedding.h"

#define WEFT_KERNELS "embedding.inc"
#include "each_isa.h"

namespace weft {

void scatter_add(const float* g, const int64_t* indices, float* out, long n, long rows, long D) {
  parallel_ranges(rows * D, 65536, [=](long a, long b) { std::memset(out + a, 0, size_t(b - a) * sizeof(float)); });
  constexpr long line = 16;  // floats of a cache line
  long threads = num_threads();
  if (threads == 1 || n * D < 16384) return WEFT_DISPATCH(scatter_add_part, g, indices, out, n, D, 0, rows, 0, D);
  // Each thread reads all indices and adds a part of them: some columns, or some rows where columns are too few.
  if (D >= 2 * line) {
    long lines = (D + line - 1) / line, parts = lines < threads ? lines : threads;
    parallel_for(parts, [=](long p, int) {
      long a, b;
      split(lines, p, parts, a, b);
      b = b * line < D ? b * line : D;
      WEFT_DISPATCH(scatter_add_part, g, indices, out, n, D, 0, rows, a * line, b);
    });
  } else {
    parallel_for(threads, [=](long p, int) {
      long a, b;
      split(rows, p, threads, a, b);
      WEFT_DISPATCH(scatter_add_part, g, indices, out, n, D, a, b, 0, D);
    });
  }
}

}  // namespace weft
