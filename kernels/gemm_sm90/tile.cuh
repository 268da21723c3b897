// The shape of gemm_sm90: what a block computes, who of its threads does what, and where things lie in shared memory.
//
// Defines, all given by python/weft/backends/gpu/gemm_sm90.py:
//   TYPE               type of A and B: bf16, f16 or tf32 (float in memory, rounded by the tensor map)
//   A_ROWS_K, B_ROWS_K 1: rows of storage run along K (A stored (M, K), B stored (N, K)); tf32 takes only these
//   TILE_M, TILE_N     of out, per tile; K advances by one 128-byte row of shared memory per stage
//   CONSUMERS          warpgroups that share a tile
//   PINGPONG           1: two teams of consumers take turns, the main loop of one behind the epilogue of the other
//   CLUSTER_M, _N      blocks of a cluster, neighbours in M share B, neighbours in N share A
//   STAGES             of the ring between TMA and the tensor cores
//   STORE_BUFFERS      8 KiB each, per warpgroup, between the epilogue and TMA
//   STORE              tensor: by TMA; add: by TMA onto what out holds; elements: rows of any alignment;
//                      pixels: by TMA, rows being pixels of images, p.out_inner wide and p.out_outer high
//   BATCHED            1: several products, or parts of K, in one launch
//   SCALED             1: alpha is not 1
//   SHARED_BYTES       what the host reserves
// and those of epilogue.cuh. Of BETA, RESIDUAL and AUX at most one is set.
#pragma once
#include "epilogue.cuh"

enum class Store { tensor, add, elements, pixels };

constexpr bool IS_TF32 = is_same<TYPE, tf32>;
constexpr int ROW = 128;                         // bytes of a row of shared memory, all swizzled by 128 bytes
constexpr int TILE_K = ROW / (IS_TF32 ? 4 : 2);  // elements of A and B in such a row
constexpr int STEPS = 4;                         // of wgmma per stage, 32 bytes of K each
constexpr int BOX_BYTES = 64 * ROW;              // 64 rows: what one wgmma takes of A, what one store sends

constexpr int TEAMS = PINGPONG ? 2 : 1;
constexpr int WARPGROUPS = TEAMS * CONSUMERS;  // that multiply; one more feeds them
constexpr int THREADS = 128 * (1 + WARPGROUPS);
constexpr int ROWS_M = TILE_M / CONSUMERS / 64;  // blocks of 64 rows that a warpgroup owns
constexpr int CLUSTER = CLUSTER_M * CLUSTER_N;
static_assert(TILE_M % (64 * CONSUMERS) == 0 && TILE_N % 64 == 0 && TILE_M <= 256 && TILE_N <= 256);
static_assert(CLUSTER <= 2, "a cluster shares one operand");
static_assert(!IS_TF32 || (A_ROWS_K && B_ROWS_K), "wgmma transposes 16-bit operands only");

constexpr Store STORE_BY = Store::STORE;
constexpr bool READS = BETA || RESIDUAL;       // the epilogue reads a matrix of out's shape
constexpr int CHUNK = ROW / int(sizeof(OUT));  // columns of out in a store buffer
constexpr int CHUNKS = TILE_N / CHUNK;         // per block of 64 rows
constexpr bool BIAS_BY_COLUMN = Bias::BIAS == Bias::column;
static_assert(BETA + RESIDUAL + AUX <= 1);
static_assert(STORE_BY != Store::pixels || !BATCHED, "strides of a batch of out are the sizes of images");
static_assert(STORE_BY == Store::tensor || !(BETA || RESIDUAL || AUX));
static_assert(STORE_BUFFERS >= 2);

// Shared memory, in bytes from its start, which is aligned to 1,024 as the swizzle wants.
constexpr int A_BYTES = TILE_M * ROW;
constexpr int B_BYTES = TILE_N * ROW;
constexpr int STAGE_BYTES = A_BYTES + B_BYTES;
constexpr int BUFFERS_AT = STAGES * STAGE_BYTES;
constexpr int BIAS_AT = BUFFERS_AT + WARPGROUPS * STORE_BUFFERS * BOX_BYTES;
constexpr int BARRIERS_AT = BIAS_AT + (BIAS_BY_COLUMN ? WARPGROUPS * TILE_N * 4 : 0);
constexpr int FULL_AT = BARRIERS_AT;
constexpr int EMPTY_AT = FULL_AT + 8 * STAGES;
constexpr int LOADED_AT = EMPTY_AT + 8 * STAGES;
constexpr int TURN_AT = LOADED_AT + 8 * WARPGROUPS * STORE_BUFFERS;
static_assert(TURN_AT + 8 * (TEAMS - 1) * TEAMS == SHARED_BYTES, "host and kernel lay out shared memory");
static_assert(SHARED_BYTES <= 232448, "what a block may have");

// A position in the ring of stages; both sides walk it at their own pace.
struct Ring {
  int stage = 0;
  unsigned phase = 0;

  DEVICE_INLINE void advance() {
    if (++stage == STAGES) stage = 0, phase ^= 1;
  }
  DEVICE_INLINE void skip(int slices) {
    stage += slices;
    phase ^= stage / STAGES & 1;
    stage %= STAGES;
  }
};

// One tile of one product: its first row and column, and its coordinates in the batch.
struct Tile {
  int row, column;
  int outer, inner;
  int split, out_outer;  // parts of K lie as batches of their own
};

// The slices of K that a tile adds up.
struct Slices {
  int begin, end;
};

// The tiles of a launch in the order in which clusters take them, cluster c the tiles c, c + clusters, ...
//
// They go in bands of tile rows, down the columns of a band and back along the next: the tiles in flight form a compact
// patch, whose rows of A and columns of B are in L2 when their neighbours ask for them.
struct Schedule {
  int rows, columns;  // in clusters of tiles
  int band;
  int count;
  int slices;
  int rank_m, rank_n;

  DEVICE_INLINE Schedule(const Problem& p, int band, int rank)
      : rows((p.tiles_m + CLUSTER_M - 1) / CLUSTER_M),
        columns((p.tiles_n + CLUSTER_N - 1) / CLUSTER_N),
        band(band),
        count(rows * columns * p.batch * p.splits),
        slices((p.k + TILE_K - 1) / TILE_K),
        rank_m(CLUSTER_M > 1 ? rank : 0),
        rank_n(CLUSTER_N > 1 ? rank : 0) {}

  // Cheap without parts of K, so that a team may ask before it starts to multiply.
  DEVICE_INLINE Slices slices_of(const Problem& p, int index) const {
    if (!BATCHED || p.splits == 1) return {0, slices};
    const int split = index / (rows * columns) % p.splits;
    return {int(1LL * slices * split / p.splits), int(1LL * slices * (split + 1) / p.splits)};
  }

  DEVICE_INLINE Tile operator()(const Problem& p, int index) const {
    Tile tile = {};
    if constexpr (BATCHED) {
      const int product = index / (rows * columns), batch = product / p.splits;
      index %= rows * columns;
      tile.split = product % p.splits;
      tile.outer = batch / p.inner;
      tile.inner = batch % p.inner;
      tile.out_outer = tile.split * (p.batch / p.inner) + tile.outer;
    }
    const int in_band = index % (band * columns), first = index / (band * columns) * band;
    const int height = min(rows - first, band);
    const int row = first + in_band % height, across = in_band / height;
    const int column = first / band % 2 ? columns - 1 - across : across;
    tile.row = (row * CLUSTER_M + rank_m) * TILE_M;
    tile.column = (column * CLUSTER_N + rank_n) * TILE_N;
    return tile;
  }
};

// Boxes of four dimensions: columns, rows, inner and outer index of the batch; of two where there is no batch.
template <int SHARERS = 1>
DEVICE_INLINE void load_box(unsigned to, const TensorMap* map, unsigned barrier, int column, int row, int inner,
                            int outer) {
  constexpr unsigned short EVERYONE = (1 << SHARERS) - 1;
  if constexpr (BATCHED && SHARERS > 1) {
    tma_load_multicast_4d(to, map, barrier, column, row, inner, outer, EVERYONE);
  } else if constexpr (BATCHED) {
    tma_load_4d(to, map, barrier, column, row, inner, outer);
  } else if constexpr (SHARERS > 1) {
    tma_load_multicast_2d(to, map, barrier, column, row, EVERYONE);
  } else {
    tma_load_2d(to, map, barrier, column, row);
  }
}

DEVICE_INLINE void store_box(const Problem& p, const TensorMap* map, unsigned from, int column, int row, int inner,
                             int outer) {
  if constexpr (STORE_BY == Store::pixels) {
    const int width = int(p.out_inner), line = row / width, height = int(p.out_outer);
    tma_store_im2col_4d(map, from, column, row % width, line % height, line / height);
  } else if constexpr (STORE_BY == Store::add) {
    if constexpr (BATCHED) {
      tma_reduce_add_4d(map, from, column, row, inner, outer);
    } else {
      tma_reduce_add_2d(map, from, column, row);
    }
  } else if constexpr (BATCHED) {
    tma_store_4d(map, from, column, row, inner, outer);
  } else {
    tma_store_2d(map, from, column, row);
  }
}
