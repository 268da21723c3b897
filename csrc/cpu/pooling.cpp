#include "pooling.h"

#include <algorithm>
#include <vector>

#include "conv_grid.h"
#include "pool.h"

#define WEFT_KERNELS "pooling.inc"
#include "each_isa.h"

namespace weft {
namespace {

// A plane as the source of a grid of windows.
struct Windows {
  std::vector<long> table;
  Grid grid;

  explicit Windows(const Pooling& v) : table(2 * v.taps()), grid{} {
    long taps = v.taps(), *dy = table.data(), *dx = dy + taps;
    for (long t = 0; t < taps; t++) {
      dy[t] = t / v.KW * v.dh - v.top;
      dx[t] = t % v.KW * v.dw - v.left;
    }
    grid.N = v.planes;
    grid.C = grid.M = grid.groups = grid.step_h = grid.step_w = 1;
    grid.H = v.H, grid.W = v.W, grid.rows = grid.OH = v.OH, grid.cols = grid.OW = v.OW;
    grid.sh = v.sh, grid.sw = v.sw, grid.taps = taps, grid.dy = dy, grid.dx = dx;
  }
};

}  // namespace

void max_pool(const Pooling& v, const float* x, float* out, uint8_t* small, int32_t* large) {
  WEFT_DISPATCH(max_pool_planes, v, Windows(v).grid, x, out, small, large);
}

void max_pool_backward(const Pooling& v, const float* g, const uint8_t* small, const int32_t* large, float* gx) {
  WEFT_DISPATCH(max_pool_backward_planes, v, g, small, large, gx);
}

void avg_pool(const Pooling& v, const float* x, float* out) {
  WEFT_DISPATCH(avg_pool_planes, v, Windows(v).grid, x, out);
}

void avg_pool_backward(const Pooling& v, const float* g, float* gx) {
  WEFT_DISPATCH(avg_pool_backward_planes, v, Windows(v).grid, g, gx);
}

}  // namespace weft
