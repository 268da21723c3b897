// The way of a warpgroup's sums to memory: through the epilogue into swizzled buffers of shared memory, from there by
// TMA while the next tile is being multiplied.
#pragma once
#include "gemm_sm90/tile.cuh"

// Where a lane finds its elements of type T in a buffer: 64 rows of 128 bytes, swizzled as TMA does.
//
// Sums lie as wgmma leaves them: lane 4g + t of warp w holds, in registers 4j .. 4j + 3, columns 8j + 2t and 8j + 2t + 1
// of rows 16w + g and 16w + g + 8. 16-bit elements travel by ldmatrix and stmatrix, 16 rows by 16 columns at a time;
// 32-bit ones in pairs. `x ^ p << 5` is the swizzled place of a multiple of 32 bytes further on. Lanes of odd rows take
// their pairs in another order, p ^ 2, so that the 16 lanes that go to memory together meet 32 banks.
template <class T>
struct Fragment {
  static constexpr bool HALF = sizeof(T) == 2;
  unsigned offset;
  bool odd;

  DEVICE_INLINE Fragment(int warp, int lane) {
    const int row = 16 * warp + (HALF ? lane % 16 : lane / 4);
    const int unit = HALF ? lane / 16 : lane % 4 / 2;
    odd = !HALF && row % 2;
    offset = row * ROW + ((unit ^ row % 8 ^ odd << 2) << 4) + (HALF ? 0 : lane % 2 * 8);
  }

  DEVICE_INLINE void load(float (&x)[CHUNK / 2], const unsigned char* buffer) const {
#pragma unroll
    for (int p = 0; p < 4; p++) {
      const unsigned at = offset ^ p << 5;
      if constexpr (HALF) {
        unsigned r[4];
        ldmatrix_x4(r, smem_u32(buffer) + at);
#pragma unroll
        for (int i = 0; i < 4; i++) x[8 * p + 2 * i] = low_half<T>(r[i]), x[8 * p + 2 * i + 1] = high_half<T>(r[i]);
      } else {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float2 pair = *reinterpret_cast<const float2*>(buffer + at + i * 8 * ROW);
          x[4 * p + 2 * i] = pair.x, x[4 * p + 2 * i + 1] = pair.y;
        }
      }
    }
    if constexpr (!HALF) reorder(x);
  }

  DEVICE_INLINE void store(const float (&sums)[CHUNK / 2], unsigned char* buffer) const {
    float x[CHUNK / 2];
#pragma unroll
    for (int v = 0; v < CHUNK / 2; v++) x[v] = sums[v];
    if constexpr (!HALF) reorder(x);
#pragma unroll
    for (int p = 0; p < 4; p++) {
      const unsigned at = offset ^ p << 5;
      if constexpr (HALF) {
        unsigned r[4];
#pragma unroll
        for (int i = 0; i < 4; i++) r[i] = pack<T>(x[8 * p + 2 * i], x[8 * p + 2 * i + 1]);
        stmatrix_x4(smem_u32(buffer) + at, r);
      } else {
#pragma unroll
        for (int i = 0; i < 2; i++)
          *reinterpret_cast<float2*>(buffer + at + i * 8 * ROW) = float2{x[4 * p + 2 * i], x[4 * p + 2 * i + 1]};
      }
    }
  }

 private:
  DEVICE_INLINE void reorder(float (&x)[CHUNK / 2]) const {
#pragma unroll
    for (int v = 0; v < CHUNK / 4; v++) {
      const float a = x[v], b = x[v + CHUNK / 4];
      x[v] = odd ? b : a;
      x[v + CHUNK / 4] = odd ? a : b;
    }
  }
};

// Writes the tiles of one warpgroup. Its buffers are taken in turn; one thread speaks to TMA for all.
struct Writer {
  const Problem& p;
  const TensorMap *map_out, *map_extra;
  OUT* out;
  const BIAS_TYPE* bias;
  unsigned char* buffers;
  float* bias_tile;
  unsigned loaded;  // mbarriers, one per buffer
  int warpgroup, thread, warp, lane;
  int turn = 0;  // buffers filled so far
  Fragment<OUT> fragment;
  float column_bias[(TILE_N + 127) / 128], row_bias[ROWS_M][2];

  DEVICE_INLINE Writer(const Problem& p, const TensorMap* map_out, const TensorMap* map_extra, OUT* out,
                       const BIAS_TYPE* bias, unsigned char* shared, int consumer_warp)
      : p(p),
        map_out(map_out),
        map_extra(map_extra),
        out(out),
        bias(bias),
        buffers(shared + BUFFERS_AT + consumer_warp / 4 * STORE_BUFFERS * BOX_BYTES),
        bias_tile(reinterpret_cast<float*>(shared + BIAS_AT) + consumer_warp / 4 * TILE_N),
        loaded(smem_u32(shared) + LOADED_AT + 8 * (consumer_warp / 4) * STORE_BUFFERS),
        warpgroup(consumer_warp / 4),
        thread(threadIdx.x % 128),
        warp(consumer_warp % 4),
        lane(thread % 32),
        fragment(warp, lane) {}

  DEVICE_INLINE unsigned char* buffer(int turn) const { return buffers + turn % STORE_BUFFERS * BOX_BYTES; }
  DEVICE_INLINE bool speaks() const { return warp == 0 && elect_one(); }
  DEVICE_INLINE void warpgroup_sync() const { bar_sync(1 + warpgroup, 128); }

  // First row of block i of the warpgroup's rows.
  DEVICE_INLINE int row_of(const Tile& tile, int i) const {
    return tile.row + (warpgroup % CONSUMERS * ROWS_M + i) * 64;
  }

  // Fetches a chunk of what the epilogue reads into the buffer that will carry the result, `ahead` turns from now.
  DEVICE_INLINE void fetch(const Tile& tile, int chunk, int ahead) const {
    const int to = turn + ahead;
    const unsigned barrier = loaded + 8 * (to % STORE_BUFFERS);
    mbarrier_arrive_expect_tx(barrier, BOX_BYTES);
    load_box(smem_u32(buffer(to)), map_extra, barrier, tile.column + chunk % CHUNKS * CHUNK,
             row_of(tile, chunk / CHUNKS), tile.inner, tile.outer);
  }

  // While the tile is being multiplied: what the epilogue will need is on its way.
  DEVICE_INLINE void begin(const Tile& tile) {
    if constexpr (Bias::BIAS == Bias::column) {
#pragma unroll
      for (int i = 0; i < (TILE_N + 127) / 128; i++) {
        const int column = tile.column + i * 128 + thread;
        column_bias[i] = i * 128 + thread < TILE_N && column < p.n ? float(bias[column]) : 0.0f;
      }
    } else if constexpr (Bias::BIAS == Bias::row) {
#pragma unroll
      for (int i = 0; i < ROWS_M; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int row = row_of(tile, i) + 16 * warp + lane / 4 + 8 * half;
          row_bias[i][half] = row < p.m ? float(bias[row]) : 0.0f;
        }
    }
    if (READS && speaks()) {
      bulk_wait_read<0>();
#pragma unroll
      for (int chunk = 0; chunk < min(STORE_BUFFERS, ROWS_M * CHUNKS); chunk++) fetch(tile, chunk, chunk);
    }
  }

  // Sums of one chunk -> what goes to out, x[4j + i] at row `row + 8 * (i / 2)` and column 8j + i % 2 of the chunk.
  DEVICE_INLINE void finish(float (&x)[CHUNK / 2], const Tile& tile, int i, int chunk) {
    if constexpr (SCALED) {
      const float alpha = float(p.alpha);
#pragma unroll
      for (int v = 0; v < CHUNK / 2; v++) x[v] *= alpha;
    }
    float old[CHUNK / 2];
    if constexpr (READS) {
      mbarrier_wait(loaded + 8 * (turn % STORE_BUFFERS), turn / STORE_BUFFERS & 1);
      fragment.load(old, buffer(turn));
    }
    if constexpr (BETA) {
      const float beta = float(p.beta);
#pragma unroll
      for (int v = 0; v < CHUNK / 2; v++) x[v] += beta * old[v];
    }
    if constexpr (Bias::BIAS == Bias::column) {
      const float* pairs = bias_tile + chunk * CHUNK + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < CHUNK / 8; j++) {
        const float2 b = *reinterpret_cast<const float2*>(pairs + 8 * j);
#pragma unroll
        for (int half = 0; half < 2; half++) x[4 * j + 2 * half] += b.x, x[4 * j + 2 * half + 1] += b.y;
      }
    } else if constexpr (Bias::BIAS == Bias::row) {
#pragma unroll
      for (int v = 0; v < CHUNK / 2; v++) x[v] += row_bias[i][v / 2 % 2];
    }
    if constexpr (AUX) send(x, map_extra, tile, i, chunk);
#pragma unroll
    for (int v = 0; v < CHUNK / 2; v++) x[v] = activate<Activation::ACTIVATION>(x[v]);
    if constexpr (RESIDUAL) {
#pragma unroll
      for (int v = 0; v < CHUNK / 2; v++) x[v] += old[v];
    }
  }

  // Fills the next buffer and hands it to TMA. Once all threads have passed the barrier, the buffer after it is free.
  DEVICE_INLINE void send(const float (&x)[CHUNK / 2], const TensorMap* map, const Tile& tile, int i, int chunk) {
    fragment.store(x, buffer(turn));
    fence_proxy_async();
    if (!READS && speaks()) bulk_wait_read<STORE_BUFFERS - 2>();
    warpgroup_sync();
    if (speaks()) {
      store_box(p, map, smem_u32(buffer(turn)), tile.column + chunk * CHUNK, row_of(tile, i), tile.inner,
                tile.out_outer);
      bulk_commit();
    }
    turn++;
  }

  // Writes a chunk whose rows need not be aligned: each warp copies its own 16 rows, a row at a time, in words where
  // the row's address allows, shifted by an element where it does not.
  DEVICE_INLINE void send_elements(const float (&x)[CHUNK / 2], const Tile& tile, int i, int chunk) {
    unsigned char* staged = buffer(0);
    __syncwarp();
    fragment.store(x, staged);
    __syncwarp();
    const int column = tile.column + chunk * CHUNK, left = p.n - column;
    OUT* const first = out + tile.outer * p.out_outer + tile.inner * p.out_inner + tile.split * p.split_stride + column;
    for (int r = 0; r < 16; r++) {
      const int row = row_of(tile, i) + 16 * warp + r;
      if (row >= p.m) break;
      const unsigned word =
          *reinterpret_cast<const unsigned*>(staged + (16 * warp + r) * ROW + ((lane / 4 ^ r % 8) << 4) + lane % 4 * 4);
      store_row(first + row * p.out_stride, word, left);
    }
  }

  // Writes the first `left` of the 128 bytes that the lanes hold, a word each, to a row.
  DEVICE_INLINE void store_row(OUT* row, unsigned word, int left) const {
    if constexpr (sizeof(OUT) == 4) {
      if (lane < left) reinterpret_cast<unsigned*>(row)[lane] = word;
    } else {
      unsigned short* const halves = reinterpret_cast<unsigned short*>(row);
      int at = 2 * lane;
      if (reinterpret_cast<unsigned long long>(row) % 4) {
        if (lane == 0 && left > 0) halves[0] = word & 0xffff;
        const unsigned next = __shfl_down_sync(0xffffffff, word, 1);
        word = word >> 16 | next << 16;
        at++;
      }
      if (at + 1 < left && at + 1 < CHUNK) {
        *reinterpret_cast<unsigned*>(halves + at) = word;
      } else if (at < left && at < CHUNK) {
        halves[at] = word & 0xffff;
      }
    }
  }

  // Stores the finished sums of a tile. The stores go on while the warpgroup multiplies again.
  DEVICE_INLINE void end(float (&sums)[ROWS_M][TILE_N / 2], const Tile& tile) {
    if constexpr (BIAS_BY_COLUMN) {
      if constexpr (STORE_BY == Store::elements) warpgroup_sync();  // all have read the bias of the tile before
#pragma unroll
      for (int i = 0; i < (TILE_N + 127) / 128; i++)
        if (i * 128 + thread < TILE_N) bias_tile[i * 128 + thread] = column_bias[i];
      warpgroup_sync();
    }
#pragma unroll
    for (int i = 0; i < ROWS_M; i++)
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; chunk++) {
        float x[CHUNK / 2];
#pragma unroll
        for (int v = 0; v < CHUNK / 2; v++) x[v] = sums[i][chunk * CHUNK / 2 + v];
        finish(x, tile, i, chunk);
        if constexpr (STORE_BY == Store::elements) {
          send_elements(x, tile, i, chunk);
        } else {
          send(x, map_out, tile, i, chunk);
        }
        // The chunk sent before this one has left its buffer, or soon will have: it takes the next chunk to read.
        const int next = i * CHUNKS + chunk - 1 + STORE_BUFFERS;
        if (READS && next >= STORE_BUFFERS && next < ROWS_M * CHUNKS && speaks()) {
          bulk_wait_read<1>();
          fetch(tile, next, STORE_BUFFERS - 2);
        }
      }
  }

  // The block may end once TMA has read and written everything.
  DEVICE_INLINE void close() const {
    if (STORE_BY != Store::elements && speaks()) bulk_wait<0>();
  }
};
