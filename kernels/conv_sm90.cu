// Convolution for Hopper as an implicit matrix product: gemm_sm90/mainloop.cuh, fed with columns of pixels by TMA's
// im2col mode and with boxes of the weights. No column ever lies in global memory.
//
//   forward         out (N OH OW, O) = epilogue(columns of x (N, H, W, C), weights (O, KH, KW, C))
//   INPUT_GRAD      dx (N H W, C) = columns of g (N, OH, OW, O), the same weights, taps in reverse
//
// A row of A is a pixel of out; K runs over the taps and, within a tap, over the channels in pieces of CHANNELS. Pixels
// outside of an image, channels beyond the last and images beyond the last are zero. The input gradient of a stride
// above 1 falls into phases, pixels of dx that meet the same taps: each is a launch of its own, with every stride-th tap
// and every stride-th pixel of dx.
//
// Defines: those of gemm_sm90/tile.cuh, A_ROWS_K = 1, B_ROWS_K = 0 for INPUT_GRAD, which reads the weights transposed;
//   CHANNELS        8, 16, 32 or 64 channels of one tap that TMA brings at a time; a stage takes 64 / CHANNELS of them
//   INPUT_GRAD      0 | 1
#include "gemm_sm90/mainloop.cuh"

#if WEFT_WGMMA

static_assert(A_ROWS_K && B_ROWS_K == !INPUT_GRAD && sizeof(TYPE) == 2);

// How columns walk over the images and taps; `Window` of python/weft/backends/gpu/conv_sm90.py has the same fields.
struct Window {
  int out_w, out_h;            // pixels that rows of A are
  int stride_w, stride_h;      // pixels of the image between them
  int left, top;               // the image's pixel under the first tap of the first of them
  int dilation_w, dilation_h;  // pixels between taps
  int taps_w, taps_h;
  int first_w, first_h;  // where the weights of the first tap are
  int step_w, step_h;    // and those of the next
  int pieces;            // of CHANNELS, per tap
};

struct Columns {
  static constexpr int PIECE = CHANNELS * 2;
  static constexpr int PIECES = 64 / CHANNELS;  // of a stage
  const TensorMap *map_x, *map_weight;
  const Window& window;
  int x, y, image;  // of the first pixel
  int column;       // first column of B
  int rank_m, rank_n;
  int piece, tap_x, tap_y;  // what is loaded next

  DEVICE_INLINE Columns(const TensorMap* map_x, const TensorMap* map_weight, const Window& window)
      : map_x(map_x), map_weight(map_weight), window(window) {}

  DEVICE_INLINE void prefetch() const {
    prefetch_tensor_map(map_x);
    prefetch_tensor_map(map_weight);
  }

  DEVICE_INLINE void begin(const Tile& tile, const Schedule& schedule, int slice) {
    rank_m = schedule.rank_m, rank_n = schedule.rank_n;
    column = tile.column;
    const int pixel = tile.row + rank_n * (TILE_M / CLUSTER_N), row = pixel / window.out_w;
    x = pixel % window.out_w * window.stride_w + window.left;
    y = row % window.out_h * window.stride_h + window.top;
    image = row / window.out_h;
    const int tap = slice * PIECES / window.pieces;
    piece = slice * PIECES % window.pieces;
    tap_x = tap % window.taps_w;
    tap_y = tap / window.taps_w;
  }

  DEVICE_INLINE void load(unsigned stage, unsigned full, int) {
#pragma unroll 1  // the producer has few registers
    for (int i = 0; i < PIECES; i++) {
      // Behind the last tap, where the last stage may have room, there are only channels that do not exist.
      const bool exists = PIECES == 1 || tap_y < window.taps_h;
      load_pixels(stage + i * TILE_M * PIECE, full, exists ? piece * CHANNELS : window.pieces * CHANNELS,
                  exists ? tap_x * window.dilation_w : 0, exists ? tap_y * window.dilation_h : 0);
      load_weights(stage + A_BYTES, i, full);
      if (++piece == window.pieces) {
        piece = 0;
        if (++tap_x == window.taps_w) tap_x = 0, tap_y++;
      }
    }
  }

 private:
  // The pixels that this block owes its cluster.
  DEVICE_INLINE void load_pixels(unsigned at, unsigned full, int channel, int offset_x, int offset_y) const {
    if constexpr (CLUSTER_N > 1) {
      constexpr unsigned short EVERYONE = (1 << CLUSTER_N) - 1;
      tma_load_im2col_multicast_4d(at + rank_n * (TILE_M / CLUSTER_N) * PIECE, map_x, full, channel, x, y, image,
                                   offset_x, offset_y, EVERYONE);
    } else {
      tma_load_im2col_4d(at, map_x, full, channel, x, y, image, offset_x, offset_y);
    }
  }

  // The weights of piece i of the stage, or this block's part of them: (O, KH, KW, C) in memory. Rows of B run along K,
  // or along the channels of dx in boxes of 64.
  DEVICE_INLINE void load_weights(unsigned at, int i, unsigned full) const {
    if constexpr (INPUT_GRAD) {
#pragma unroll
      for (int box = 0; box < TILE_N / 64; box++)
        if (box % CLUSTER_M == rank_m)
          load_weight_box(at + box * BOX_BYTES + i * CHANNELS * ROW, full, column + box * 64, piece * CHANNELS);
    } else {
      constexpr int PART = TILE_N / CLUSTER_M;
      load_weight_box(at + (i * TILE_N + rank_m * PART) * PIECE, full, piece * CHANNELS, column + rank_m * PART);
    }
  }

  DEVICE_INLINE void load_weight_box(unsigned at, unsigned full, int channel, int out_channel) const {
    const int w = window.first_w + tap_x * window.step_w, h = window.first_h + tap_y * window.step_h;
    if constexpr (CLUSTER_M > 1) {
      constexpr unsigned short EVERYONE = (1 << CLUSTER_M) - 1;
      tma_load_multicast_4d(at, map_weight, full, channel, w, h, out_channel, EVERYONE);
    } else {
      tma_load_4d(at, map_weight, full, channel, w, h, out_channel);
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv_sm90(const __grid_constant__ TensorMap map_x, const __grid_constant__ TensorMap map_weight,
              const __grid_constant__ TensorMap map_out, const __grid_constant__ TensorMap map_extra, OUT* out,
              const BIAS_TYPE* bias, const __grid_constant__ Problem p, const __grid_constant__ Window window,
              int band) {
  DYNAMIC_SHARED(unsigned char, shared_memory, 1024);
  Columns columns(&map_x, &map_weight, window);
  run_block(p, band, columns, &map_out, &map_extra, out, bias, shared_memory);
}
EXPORT_KERNEL(conv_sm90)

#endif
