// What convolution and its input gradient have in common: a correlation sampled on a grid.
//
//     out(n, m, oy + i step_h, ox + j step_w) = bias(m) + sum over c, t of
//         weight(m, c, t) source(n, c, i sh + dy[t], j sw + dx[t])
//
// with 0 for pixels outside of the source. Convolution is one such grid. Its input gradient is one grid per residue of
// the pixel modulo the stride: the taps that meet a pixel are the same for all pixels of a residue.
#pragma once

namespace weft {

struct Grid {
  long N, C, H, W;  // source, all groups
  long M, groups;   // channels of the output, all groups
  long rows, cols;  // extent of the grid
  long sh, sw;      // pixels of the source from one point of the grid to the next
  long taps;
  const long *dy, *dx, *tap;            // per tap: its place in the source, and which tap of the weight it is
  long OH, OW, step_h, step_w, oy, ox;  // the output image and where the grid lies in it

  long source_channels() const { return C / groups; }
  long output_channels() const { return M / groups; }
  bool fills_output() const { return step_h == 1 && step_w == 1; }
};

// weight(m, c, t) of a group is data[group * g + m * row + c * column + t].
struct Weights {
  const float* data;
  long row, column, group;
  long kernel;   // taps of the whole kernel
  bool forward;  // the grid has every tap in order, so (channel, tap) is contiguous
};

}  // namespace weft
