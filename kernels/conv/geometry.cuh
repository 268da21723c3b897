// The three passes of a convolution as matrix products whose factors are never in memory: where the windows of an image
// lie that a product gathers. Shared by conv_simt.cu and conv_mma.cu.
//
//   forward      out (pixels, O)   = windows of x (pixels, KH KW C)   filters (KH KW C, O)
//   input_grad   dx  (pixels, C)   = windows of g (pixels, KH KW O)   filters (KH KW O, C)
//   weight_grad  dw  (O, KH KW C)  = g^T (O, pixels)                  windows of x (pixels, KH KW C)
//
// Images lie channels last, (N, H, W, groups, channels); filters as (groups, rows of out, KH, KW, channels). `channels`
// are those of a group in the image that is gathered, padded to whole vectors with zeros.
//
// With strides of sh x sw, pixels of dx whose rows and columns leave the same remainders form a phase: each of the sh sw
// phases meets its own taps of the kernel, and is a product of its own with nothing to skip, the outer of a batch.
//
// Defines: PASS   forward | input_grad | weight_grad.
#pragma once
#include "common.cuh"
#include "epilogue.cuh"

enum class Pass { forward, input_grad, weight_grad };
constexpr bool FORWARD = Pass::PASS == Pass::forward, INPUT_GRAD = Pass::PASS == Pass::input_grad;
constexpr bool WEIGHT_GRAD = Pass::PASS == Pass::weight_grad;

// Height or width of a convolution.
struct Axis {
  int image, out;                         // pixels of x (or dx), and of the convolution's result (or g)
  int kernel, stride, padding, dilation;  // padding: in front
  int step, shift;                        // stride and dilation over their greatest common divisor
  Division by_taps[2];                    // the phases of input_grad have kernel / step taps, or one more
};

// `Geometry` of python/weft/backends/gpu/conv_problem.py.
struct Geometry {
  Axis height, width;
  int images;
  int channels, pixel;                        // of the gathered image; elements from one of its pixels to the next
  Division by_channels, by_width, by_pixels;  // by_width, by_pixels: of a row, of an image of the convolution's result
};

// The taps of an axis that some rows (or columns) of out meet: tap `first + i step` of the kernel reads, for row r of
// out, row `r stride + place + i spacing` of the gathered image.
struct Taps {
  int first, step, count;
  int stride, place, spacing;
  int rows, size;  // of out, of the gathered image
  Division by_count;

  DEVICE_INLINE Taps(const Axis& axis, int phase) {
    if constexpr (INPUT_GRAD) {
      rows = (axis.image - phase + axis.stride - 1) / axis.stride;
      size = axis.out;
      step = axis.step;
      first = 0;
      while (first < step && (phase + axis.padding - first * axis.dilation) % axis.stride) first++;
      const bool any = first < step && first < axis.kernel;
      count = any ? (axis.kernel - 1 - first) / step + 1 : 0;
      stride = 1;
      place = any ? (phase + axis.padding - first * axis.dilation) / axis.stride : 0;
      spacing = -axis.shift;
      by_count = axis.by_taps[count > axis.kernel / step];
    } else {
      rows = axis.out;
      size = axis.image;
      first = 0;
      step = 1;
      count = axis.kernel;
      stride = axis.stride;
      place = -axis.padding;
      spacing = axis.dilation;
      by_count = axis.by_taps[0];
    }
  }
};

// What one k of a window is: a channel at a tap.
struct Place {
  int h, w;       // from the window's first tap to this one, in pixels of the gathered image
  int offset;     // the same in elements, and the channel
  int filter;     // where it lies in a filter
  unsigned taps;  // its row and its column as bits of Window::taps
};

struct Windows {
  Taps h, w;
  int channels, pixel, kernel_w;
  Division by_channels;

  DEVICE_INLINE Windows(const Geometry& g, int phase_h, int phase_w)
      : h(g.height, phase_h),
        w(g.width, phase_w),
        channels(g.channels),
        pixel(g.pixel),
        kernel_w(g.width.kernel),
        by_channels(g.by_channels) {}

  DEVICE_INLINE int depth() const { return h.count * w.count * channels; }

  DEVICE_INLINE Place at(int k) const {
    const int tap = by_channels.quotient(unsigned(k)), channel = k - tap * channels;
    const int a = w.by_count.quotient(unsigned(tap)), b = tap - a * w.count;
    Place p;
    p.taps = 1u << a | 1u << (h.count + b);
    p.h = a * h.spacing;
    p.w = b * w.spacing;
    p.offset = (p.h * w.size + p.w) * pixel + channel;
    p.filter = FORWARD ? k : ((h.first + a * h.step) * kernel_w + w.first + b * w.step) * channels + channel;
    return p;
  }
};

// The window of one pixel of out: its first tap, which may lie outside of the image.
struct Window {
  int h, w;
  int pixel;  // of all images

  Window() = default;
  DEVICE_INLINE Window(const Windows& windows, int image, int i, int j)
      : h(i * windows.h.stride + windows.h.place), w(j * windows.w.stride + windows.w.place) {
    pixel = (image * windows.h.size + h) * windows.w.size + w;
  }

  // Elements from the first of all images to the window's place p.
  DEVICE_INLINE long long offset(const Windows& windows, const Place& p) const {
    return (long long)(pixel)*windows.pixel + p.offset;
  }

  // A bit for each row of taps that lies inside of the image, then one for each column; for at most 32 of both.
  DEVICE_INLINE unsigned taps(const Windows& windows) const {
    unsigned bits = 0;
    for (int a = 0; a < windows.h.count; a++)
      bits |= unsigned(unsigned(h + a * windows.h.spacing) < unsigned(windows.h.size)) << a;
    for (int b = 0; b < windows.w.count; b++)
      bits |= unsigned(unsigned(w + b * windows.w.spacing) < unsigned(windows.w.size)) << (windows.h.count + b);
    return bits;
  }

  DEVICE_INLINE bool inside(const Windows& windows, const Place& p) const {
    return unsigned(h + p.h) < unsigned(windows.h.size) && unsigned(w + p.w) < unsigned(windows.w.size);
  }
};

// A pixel of out.
struct Pixel {
  int image, h, w;

  // Number `row` of a phase.
  DEVICE_INLINE Pixel(const Windows& windows, int row) {
    const int above = row / windows.w.rows;
    w = row - above * windows.w.rows;
    image = above / windows.h.rows;
    h = above - image * windows.h.rows;
  }

  // Number `row` of all, by multiplications: for main loops.
  DEVICE_INLINE Pixel(const Geometry& g, unsigned row) {
    image = g.by_pixels.quotient(row);
    const unsigned rest = row - image * g.by_pixels.divisor;
    h = g.by_width.quotient(rest);
    w = rest - h * g.by_width.divisor;
  }

  DEVICE_INLINE Window window(const Windows& windows) const { return Window(windows, image, h, w); }
};

// What a block does: a tile of one group's product, in one phase, over a part of k.
struct Task {
  const Problem& problem;
  const Geometry& geometry;
  const TileIndex& at;
  int phase_h, phase_w;
  Windows windows;
  int rows;  // of the phase's product
  int k_first, k_end;

  DEVICE_INLINE Task(const Problem& problem, const Geometry& geometry, const TileIndex& at)
      : problem(problem),
        geometry(geometry),
        at(at),
        phase_h(INPUT_GRAD ? at.outer / geometry.width.stride : 0),
        phase_w(INPUT_GRAD ? at.outer - phase_h * geometry.width.stride : 0),
        windows(geometry, phase_h, phase_w),
        rows(WEIGHT_GRAD ? problem.m : geometry.images * windows.h.rows * windows.w.rows),
        k_first(at.split * problem.k_split),
        k_end(min(WEIGHT_GRAD ? problem.k : windows.depth(), k_first + problem.k_split)) {}

  // Where row `row` of the phase lies among all rows of out.
  DEVICE_INLINE int row_of_all(int row) const {
    if (!INPUT_GRAD || (geometry.height.stride == 1 && geometry.width.stride == 1)) return row;
    const Pixel p(windows, row);
    const int line = p.image * geometry.height.image + p.h * geometry.height.stride + phase_h;
    return line * geometry.width.image + p.w * geometry.width.stride + phase_w;
  }
};
