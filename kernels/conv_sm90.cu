// Convolution for Hopper as an implicit matrix product: gemm_sm90/mainloop.cuh, fed with columns of pixels by TMA's
// im2col mode. No column ever lies in global memory.
//
//   forward         out (N OH OW, O) = epilogue(columns of x (N, H, W, C), filters (O, KH, KW, C))
//   input gradient  dx (N H W, C) = columns of g (N, OH, OW, O), filters (C, KH, KW, O), taps in reverse
//   WEIGHT_GRAD     dw (O, KH KW C) = g^T (O, N OH OW), columns of x (N OH OW, KH KW C)
//
// A column holds, for a row of pixels, what one tap of the kernel meets. Channels of a tap come in pieces of CHANNELS.
// Pixels outside of an image, channels beyond the last and images beyond the last are zero. The input gradient of a
// stride above 1 falls into phases, pixels of dx that meet the same taps: each is a launch of its own, with every
// so-many-th tap and every stride-th pixel of dx.
//
// Defines: those of gemm_sm90/tile.cuh, and
//   CHANNELS        8, 16, 32 or 64 channels of one tap that TMA brings at a time
//   WEIGHT_GRAD     0 | 1
#include "gemm_sm90/mainloop.cuh"

#if WEFT_WGMMA

static_assert(A_ROWS_K == !WEIGHT_GRAD && B_ROWS_K == !WEIGHT_GRAD && sizeof(TYPE) == 2);

// How columns walk over the images and taps; `Window` of python/weft/backends/gpu/conv_sm90.py has the same fields.
struct Window {
  int out_w, out_h;            // pixels that a column has
  int stride_w, stride_h;      // pixels of the image between them
  int left, top;               // the image's pixel under the first tap of the first of them
  int dilation_w, dilation_h;  // pixels between taps
  int taps_w, taps_h;
  int first_w, first_h;  // where the filters of the first tap are
  int step_w, step_h;    // and those of the next
  int pieces;            // of CHANNELS, per tap
};

// A piece of the channels of a tap. Behind the last tap come some that do not exist: tiles are not cut for them.
struct Piece {
  int number, x, y;  // in its tap; the tap

  DEVICE_INLINE Piece(const Window& window, int index) {
    const int tap = index / window.pieces;
    number = index % window.pieces;
    x = tap % window.taps_w;
    y = tap / window.taps_w;
  }
  DEVICE_INLINE bool exists(const Window& window) const {
    return (CHANNELS == 64 && !WEIGHT_GRAD) || y < window.taps_h;  // a stage of K is one piece: none are left over
  }
  DEVICE_INLINE int channel() const { return number * CHANNELS; }
  DEVICE_INLINE void advance(const Window& window) {
    if (++number == window.pieces) {
      number = 0;
      if (++x == window.taps_w) x = 0, y++;
    }
  }
};

// The start of columns: the image's pixel under the first tap.
struct Pixel {
  int x, y, image;

  DEVICE_INLINE Pixel() {}
  DEVICE_INLINE Pixel(const Window& window, int index) {
    const int row = index / window.out_w;
    x = index % window.out_w * window.stride_w + window.left;
    y = row % window.out_h * window.stride_h + window.top;
    image = row / window.out_h;
  }
};

// A piece of a column, from a pixel on, to all who share it.
template <int SHARERS>
DEVICE_INLINE void load_column(unsigned to, const TensorMap* map, unsigned full, const Window& window,
                               const Pixel& pixel, const Piece& piece) {
  // What does not exist has no place either, but for channels behind the last, which are zero.
  const bool exists = piece.exists(window);
  const int channel = exists ? piece.channel() : window.pieces * CHANNELS;
  const int x = exists ? piece.x * window.dilation_w : 0, y = exists ? piece.y * window.dilation_h : 0;
  if constexpr (SHARERS > 1) {
    constexpr unsigned short EVERYONE = (1 << SHARERS) - 1;
    tma_load_im2col_multicast_4d(to, map, full, channel, pixel.x, pixel.y, pixel.image, x, y, EVERYONE);
  } else {
    tma_load_im2col_4d(to, map, full, channel, pixel.x, pixel.y, pixel.image, x, y);
  }
}

template <bool>
struct Loader;

// Columns times filters: K runs over the taps and, within a tap, over the channels.
template <>
struct Loader<false> {
  static constexpr int A_PIECE = CHANNELS * 2, B_PIECE = A_PIECE;
  static constexpr int PART_M = TILE_M / CLUSTER_N, PART_N = TILE_N / CLUSTER_M;  // what each block of a cluster loads
  const TensorMap *image, *filters;
  const Window& window;
  Pixel pixel;
  Piece piece;
  int column, rank_m, rank_n;

  DEVICE_INLINE Loader(const TensorMap* image, const TensorMap* filters, const Window& window)
      : image(image), filters(filters), window(window), piece(window, 0) {}
  DEVICE_INLINE void prefetch() const {
    prefetch_tensor_map(image);
    prefetch_tensor_map(filters);
  }
  DEVICE_INLINE void begin(const Tile& tile, const Schedule& schedule, int slice) {
    rank_m = schedule.rank_m, rank_n = schedule.rank_n;
    pixel = Pixel(window, tile.row + rank_n * PART_M);
    column = tile.column + rank_m * PART_N;
    piece = Piece(window, slice * (64 / CHANNELS));
  }
  DEVICE_INLINE void load(unsigned stage, unsigned full, int) {
#pragma unroll 1  // the producer has few registers
    for (int i = 0; i < 64 / CHANNELS; i++) {
      load_column<CLUSTER_N>(stage + (i * TILE_M + rank_n * PART_M) * A_PIECE, image, full, window, pixel, piece);
      const unsigned to = stage + A_BYTES + (i * TILE_N + rank_m * PART_N) * B_PIECE;
      const int w = window.first_w + piece.x * window.step_w, h = window.first_h + piece.y * window.step_h;
      if constexpr (CLUSTER_M > 1) {
        constexpr unsigned short EVERYONE = (1 << CLUSTER_M) - 1;
        tma_load_multicast_4d(to, filters, full, piece.channel(), w, h, column, EVERYONE);
      } else {
        tma_load_4d(to, filters, full, piece.channel(), w, h, column);
      }
      piece.advance(window);
    }
  }
};

// The gradient of out, transposed, times columns: K runs over the pixels, N over taps and channels.
template <>
struct Loader<true> {
  static constexpr int A_PIECE = ROW, B_PIECE = CHANNELS * 2;
  const TensorMap *image, *gradient;
  const Window& window;
  Piece first;
  int row, rank_m, rank_n;

  DEVICE_INLINE Loader(const TensorMap* image, const TensorMap* gradient, const Window& window)
      : image(image), gradient(gradient), window(window), first(window, 0) {}
  DEVICE_INLINE void prefetch() const {
    prefetch_tensor_map(image);
    prefetch_tensor_map(gradient);
  }
  DEVICE_INLINE void begin(const Tile& tile, const Schedule& schedule, int) {
    rank_m = schedule.rank_m, rank_n = schedule.rank_n;
    row = tile.row;
    first = Piece(window, tile.column / CHANNELS);
  }
  DEVICE_INLINE void load(unsigned stage, unsigned full, int slice) const {
#pragma unroll
    for (int box = 0; box < TILE_M / 64; box++) {
      if (box % CLUSTER_N != rank_n) continue;
      if constexpr (CLUSTER_N > 1) {
        constexpr unsigned short EVERYONE = (1 << CLUSTER_N) - 1;
        tma_load_multicast_2d(stage + box * BOX_BYTES, gradient, full, row + box * 64, slice * 64, EVERYONE);
      } else {
        tma_load_2d(stage + box * BOX_BYTES, gradient, full, row + box * 64, slice * 64);
      }
    }
    const Pixel pixel(window, slice * 64);
    Piece piece = first;
#pragma unroll 1
    for (int i = 0; i < TILE_N / CHANNELS; i++) {
      if (i % CLUSTER_M == rank_m)
        load_column<CLUSTER_M>(stage + A_BYTES + i * 64 * B_PIECE, image, full, window, pixel, piece);
      piece.advance(window);
    }
  }
};

// other: the filters, or the gradient of out.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv_sm90(const __grid_constant__ TensorMap map_image, const __grid_constant__ TensorMap map_other,
              const __grid_constant__ TensorMap map_out, OUT* out, const BIAS_TYPE* bias,
              const __grid_constant__ Problem p, const __grid_constant__ Window window, int band) {
  DYNAMIC_SHARED(unsigned char, shared_memory, 1024);
  Loader<WEIGHT_GRAD> loader(&map_image, &map_other, window);
  run_block(p, band, loader, &map_out, &map_out, out, bias, shared_memory);
}
EXPORT_KERNEL(conv_sm90)

#endif
