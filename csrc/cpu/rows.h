// Sharing rows among threads.
#pragma once
#include "pool.h"

namespace weft {

// f(begin, end) over ranges of `rows` rows, each of about `cost` elements' work; little work runs at once on the caller.
template <class F>
void parallel_rows(long rows, long cost, F&& f) {
  long work = rows * (cost > 0 ? cost : 1);
  long pieces = work / 8192, most = 4L * num_threads();
  if (pieces > most) pieces = most;
  if (pieces > rows) pieces = rows;
  if (num_threads() == 1 || pieces < 2) {
    if (rows > 0) f(0L, rows);
    return;
  }
  parallel_for(pieces, [&](long p, int) {
    long a, b;
    split(rows, p, pieces, a, b);
    f(a, b);
  });
}

// Sums of `width` values over rows are kept by block of rows and added in the order of the blocks: their number follows
// from the shape alone, so the result does not depend on the threads. They take 16 MiB at most.
inline long row_blocks(long rows, long cost, long width) {
  long blocks = rows * cost / 16384, most = (4L << 20) / (width > 0 ? width : 1);
  if (most > 64) most = 64;
  if (blocks > most) blocks = most;
  if (blocks > rows) blocks = rows;
  return blocks > 1 ? blocks : 1;
}

}  // namespace weft
