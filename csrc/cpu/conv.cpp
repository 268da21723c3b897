// Chooses the kernel for a convolution's shape; the kernels are in conv_*.inc.
#include "conv.h"

#include <algorithm>
#include <vector>

#include "conv_grid.h"
#include "pool.h"

#define WEFT_KERNELS "conv.inc"
#include "each_isa.h"

namespace weft {
namespace {

// Grids and the tap tables that they point into.
struct Grids {
  std::vector<long> table;
  std::vector<Grid> grids;
};

Grids forward_grid(const Conv& v) {
  Grids made;
  long taps = v.KH * v.KW;
  made.table.resize(3 * taps);
  long *dy = made.table.data(), *dx = dy + taps, *tap = dx + taps;
  for (long t = 0; t < taps; t++) {
    dy[t] = t / v.KW * v.dh - v.top;
    dx[t] = t % v.KW * v.dw - v.left;
    tap[t] = t;
  }
  made.grids.push_back(
      {v.N, v.C, v.H, v.W, v.O, v.groups, v.OH, v.OW, v.sh, v.sw, taps, dy, dx, tap, v.OH, v.OW, 1, 1, 0, 0});
  return made;
}

// Pixel y of the image meets tap a at output row i where i sh + a dh - top = y. For y = k sh + r that is row
// k + (r + top - a dh) / sh, if the division leaves no rest.
Grids input_grids(const Conv& v) {
  Grids made;
  long taps = v.KH * v.KW;
  made.table.resize(3 * taps * v.sh * v.sw);
  long* free = made.table.data();
  for (long r = 0; r < std::min(v.sh, v.H); r++) {
    for (long s = 0; s < std::min(v.sw, v.W); s++) {
      long *dy = free, *dx = dy + taps, *tap = dx + taps, count = 0;
      free += 3 * taps;
      for (long t = 0; t < taps; t++) {
        long y = r + v.top - t / v.KW * v.dh, x = s + v.left - t % v.KW * v.dw;
        if (y % v.sh || x % v.sw) continue;
        dy[count] = y / v.sh;
        dx[count] = x / v.sw;
        tap[count++] = t;
      }
      long rows = (v.H - r + v.sh - 1) / v.sh, cols = (v.W - s + v.sw - 1) / v.sw;
      made.grids.push_back(
          {v.N, v.O, v.OH, v.OW, v.C, v.groups, rows, cols, 1, 1, count, dy, dx, tap, v.H, v.W, v.sh, v.sw, r, s});
    }
  }
  return made;
}

// Few channels leave most of a vector of channels empty, and a 1x1 kernel needs no reordering of pixels: there, vectors
// run along the pixels of a plane.
bool along_planes(const Grid& g, long kernel) {
  return g.source_channels() < 8 || g.output_channels() < 8 || kernel == 1;
}

bool is_depthwise(const Conv& v) { return v.groups > 1 && v.C == v.groups; }

void correlate(const Conv& v, const Grids& made, const Weights& weights, const float* source, const float* bias,
               float* out) {
  const Grid* grids = made.grids.data();
  int count = int(made.grids.size());
  if (is_depthwise(v)) {
    WEFT_DISPATCH(correlate_depthwise, grids, count, weights, source, bias, out);
  } else if (along_planes(*grids, weights.kernel)) {
    for (int i = 0; i < count; i++) WEFT_DISPATCH(correlate_planes, grids[i], weights, source, bias, out);
  } else {
    WEFT_DISPATCH(correlate_pixels, grids, count, weights, source, bias, out);
  }
}

}  // namespace

void conv2d(const Conv& v, const float* x, const float* weight, const float* bias, float* out) {
  long kernel = v.KH * v.KW, channels = v.C / v.groups;
  Weights weights{weight, channels * kernel, kernel, v.O / v.groups * channels * kernel, kernel, true};
  correlate(v, forward_grid(v), weights, x, bias, out);
}

void conv2d_input_grad(const Conv& v, const float* g, const float* weight, float* gx) {
  long kernel = v.KH * v.KW, channels = v.C / v.groups;
  Weights weights{weight, kernel, channels * kernel, v.O / v.groups * channels * kernel, kernel, false};
  correlate(v, input_grids(v), weights, g, nullptr, gx);
}

void conv2d_weight_grad(const Conv& v, const float* g, const float* x, float* gw) {
  Grids made = forward_grid(v);
  if (is_depthwise(v)) {
    WEFT_DISPATCH(depthwise_weight_grad, made.grids[0], g, x, gw);
  } else {
    WEFT_DISPATCH(weight_grad, made.grids[0], v.KH * v.KW, g, x, gw);
  }
}

}  // namespace weft
