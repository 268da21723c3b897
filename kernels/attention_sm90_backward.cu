// The gradients of attention on Hopper, in two passes that know no atomic addition: one over the keys gives those of
// keys and values, one over the queries, which computes all scores again, gives that of the queries.
//
//   p = exp(scale q k^T - lse),   gv = p^T g,   ds = p (g v^T - delta),   gq = scale ds k,   gk = scale ds^T q
//
// Both passes are one kernel. A warpgroup keeps 64 rows of x and y, and meets tiles of rows of u and w: of keys x = k,
// y = v, u = q, w = g; of queries x = q, y = g, u = k, w = v. From the products x u^T and y w^T follow p and ds, in
// registers, which are left factors of what is added up: p w (of keys alone) and ds u. One product or another is under
// way all the time; while it waits for its own, a warpgroup's tensor cores work for the other. Shah et al. (2024); Dao
// et al., "FlashAttention: fast and memory-efficient exact attention" (2022), algorithm 4.
//
// Defines, all given by python/weft/backends/gpu/attention_sm90_backward.py:
//   TYPE             f16 or bf16
//   OF_KEYS          1: the pass over keys, 0: over queries
//   HEAD, HEAD_V     columns of q and k, and of v and g, filled up with zeros to a multiple of 16
//   TILE_N, STAGES   rows of u and w at a time, and how many such tiles the ring holds
//   SHARED_BYTES     what the host reserves
#include "attention_sm90/products.cuh"

#if WEFT_WGMMA

constexpr int CONSUMERS = 2, TILE_M = ROWS * CONSUMERS, THREADS = 128 * (1 + CONSUMERS);
constexpr int SUMS_X = whole(HEAD), SUMS_Y = whole(HEAD_V);
constexpr bool FULL = OF_KEYS && SUMS_X + SUMS_Y > 192;  // sums fill most registers
using Share = Registers<CONSUMERS, FULL ? 24 : 40, FULL ? 240 : 232>;
constexpr int X_BYTES = boxes(HEAD) * BOX_BYTES, Y_BYTES = boxes(HEAD_V) * BOX_BYTES;  // of a warpgroup
constexpr int TALL_BOX_BYTES = TILE_N * ROW;
constexpr int U_BYTES = boxes(HEAD) * TALL_BOX_BYTES, W_BYTES = boxes(HEAD_V) * TALL_BOX_BYTES;
constexpr int STAGE_BYTES = U_BYTES + W_BYTES;
constexpr int NUMBERS = OF_KEYS ? 2 * TILE_N : 0;  // of the queries of a stage: logs, then deltas

// Shared memory, in bytes from its start, which is aligned to 1,024 as the swizzle wants.
constexpr int X_AT = STAGES * STAGE_BYTES;
constexpr int Y_AT = X_AT + CONSUMERS * X_BYTES;
constexpr int NUMBERS_AT = Y_AT + CONSUMERS * Y_BYTES;
constexpr int FULL_AT = NUMBERS_AT + STAGES * NUMBERS * 4;
constexpr int EMPTY_AT = FULL_AT + 8 * STAGES;
constexpr int OWN_AT = EMPTY_AT + 8 * STAGES;
static_assert(OWN_AT + 8 * CONSUMERS == SHARED_BYTES, "host and kernel lay out shared memory");
static_assert(SHARED_BYTES <= 232448, "what a block may have");
static_assert(HEAD % 16 == 0 && HEAD_V % 16 == 0 && HEAD <= 128 && HEAD_V <= 128 && TILE_N % 16 == 0);

// `problem_of` of python/weft/backends/gpu/attention_sm90_backward.py packs the same.
struct Problem {
  int queries, keys;
  int visible;       // row i sees the keys below min(keys, i + visible)
  int heads, group;  // of q; query heads per head of keys
  int pairs;         // of sequence and head (of keys, in their pass)
  int tiles;         // of TILE_M rows of x, per pair
  int section;       // pairs whose tiles run together, because what they meet fits into L2
  float scale, scale_log2;
};

// TILE_M rows of x, and the tiles of u and w that they meet: `count` from number `first` on, for each of `heads` heads.
struct Work {
  int batch, head, row;  // head of x
  int first, count, heads;

  // Those that meet most come first, so that short ones fill the end.
  DEVICE_INLINE Work(const Problem& p) {
    const int index = int(blockIdx.x), first_pair = index / (p.section * p.tiles) * p.section;
    const int in_section = index - first_pair * p.tiles, pairs = min(p.section, p.pairs - first_pair);
    const int pair = first_pair + in_section % pairs, order = in_section / pairs;
    const int x_heads = OF_KEYS ? p.heads / p.group : p.heads;
    batch = pair / x_heads;
    head = pair % x_heads;
    row = (OF_KEYS ? order : p.tiles - 1 - order) * TILE_M;
    if constexpr (OF_KEYS) {
      first = max(0, row - p.visible + 1) / TILE_N;  // the first query that sees the first key
      count = max(0, (p.queries + TILE_N - 1) / TILE_N - first);
    } else {
      first = 0;
      count = (max(0, min(p.keys, min(row + TILE_M, p.queries) - 1 + p.visible)) + TILE_N - 1) / TILE_N;
    }
    heads = OF_KEYS ? p.group : 1;
  }

  DEVICE_INLINE int steps() const { return heads * count; }
  DEVICE_INLINE int met_head(const Problem& p, int i) const { return OF_KEYS ? head * p.group + i : head / p.group; }
};

// A position in the ring of stages, and in the tiles that are met.
struct Position {
  int stage = 0;
  unsigned phase = 0;
  int tile, head = 0;

  DEVICE_INLINE Position(const Work& work) : tile(work.first) {}
  DEVICE_INLINE void advance(const Work& work) {
    if (++stage == STAGES) stage = 0, phase ^= 1;
    if (++tile == work.first + work.count) tile = work.first, head++;
  }
};

// One thread: rows of x and y once, then tiles of u and w.
DEVICE_INLINE void produce(const Problem& p, const Work& work, const TensorMap* map_x, const TensorMap* map_y,
                           const TensorMap* map_u, const TensorMap* map_w, unsigned shared) {
  for (int i = 0; i < CONSUMERS; i++) {
    const unsigned own = shared + OWN_AT + 8 * i;
    mbarrier_arrive_expect_tx(own, X_BYTES + Y_BYTES);
    load_boxes<boxes(HEAD), BOX_BYTES>(shared + X_AT + i * X_BYTES, map_x, own, work.row + i * ROWS, work.head,
                                       work.batch);
    load_boxes<boxes(HEAD_V), BOX_BYTES>(shared + Y_AT + i * Y_BYTES, map_y, own, work.row + i * ROWS, work.head,
                                         work.batch);
  }
  Position at(work);
  for (int step = work.steps(); step > 0; step--) {
    const unsigned full = shared + FULL_AT + 8 * at.stage, stage = shared + at.stage * STAGE_BYTES;
    const int head = work.met_head(p, at.head);
    mbarrier_wait(shared + EMPTY_AT + 8 * at.stage, at.phase ^ 1);
    mbarrier_arrive_expect_tx(full, STAGE_BYTES);
    load_boxes<boxes(HEAD), TALL_BOX_BYTES>(stage, map_u, full, at.tile * TILE_N, head, work.batch);
    load_boxes<boxes(HEAD_V), TALL_BOX_BYTES>(stage + U_BYTES, map_w, full, at.tile * TILE_N, head, work.batch);
    at.advance(work);
  }
}

// One warp: the logs and deltas of queries that are met; behind the last, zeros.
DEVICE_INLINE void produce_numbers(const Problem& p, const Work& work, const float* logs, const float* deltas,
                                   unsigned shared) {
  const int lane = threadIdx.x % 32;
  Position at(work);
  for (int step = work.steps(); step > 0; step--) {
    const int first = at.tile * TILE_N;
    const long long row = (long long)(work.batch * p.heads + work.met_head(p, at.head)) * p.queries;
    mbarrier_wait(shared + EMPTY_AT + 8 * at.stage, at.phase ^ 1);
    for (int i = lane; i < TILE_N; i += 32) {
      const bool inside = first + i < p.queries;
      const long long from = row + (inside ? first + i : 0);
      const unsigned to = shared + NUMBERS_AT + (at.stage * NUMBERS + i) * 4;
      cp_async_4(to, logs + from, inside);
      cp_async_4(to + TILE_N * 4, deltas + from, inside);
    }
    cp_async_mbarrier_arrive(shared + FULL_AT + 8 * at.stage);
    at.advance(work);
  }
}

// Hides scores of keys that a query does not see; a thread has rows `row` and `row` + 8 of x, and rows `first` + 8j and
// the next of u.
DEVICE_INLINE void hide(const Problem& p, float (&s)[TILE_N / 2], int row, int first) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int own = row + 8 * half;
    // Of keys: the queries from the first that sees this key. Of queries: the keys up to the last that it sees.
    const int bound = (OF_KEYS ? own - p.visible + 1 : min(p.keys, own + p.visible)) - first;
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++)
#pragma unroll
      for (int i = 0; i < 2; i++)
        if (OF_KEYS ? 8 * j + i < bound : 8 * j + i >= bound) s[4 * j + 2 * half + i] = -INFINITY;
  }
}

// Of keys the weights that went into gv, rounded: registers do not hold them twice.
DEVICE_INLINE float weight(const unsigned (&rounded)[TILE_N / 16][4], const float (&s)[TILE_N / 2], int j, int i) {
  if constexpr (!OF_KEYS) return s[4 * j + i];
  const unsigned pair = rounded[j / 2][j % 2 * 2 + i / 2];
  return i % 2 ? high_half<TYPE>(pair) : low_half<TYPE>(pair);
}

// A consumer warpgroup: its 64 rows of x, from beginning to end.
DEVICE_INLINE void consume(const Problem& p, const Work& work, const float* logs, const float* deltas,
                           const TensorMap* map_gx, const TensorMap* map_gy, unsigned char* memory, int consumer_warp) {
  const unsigned shared = smem_u32(memory);
  const int warpgroup = consumer_warp / 4, warp = consumer_warp % 4, lane = threadIdx.x % 32;
  const unsigned x_at = shared + X_AT + warpgroup * X_BYTES, y_at = shared + Y_AT + warpgroup * Y_BYTES;
  const unsigned long long x = smem_descriptor(x_at, 0, 8 * ROW, 128), y = smem_descriptor(y_at, 0, 8 * ROW, 128);
  // As right factors of scores, rows along K; as right factors of weights, across: `lbo` counts for the latter.
  const unsigned long long u0 = smem_descriptor(shared, TALL_BOX_BYTES, 8 * ROW, 128);
  const unsigned long long w0 = smem_descriptor(shared + U_BYTES, TALL_BOX_BYTES, 8 * ROW, 128);
  const int first_row = work.row + warpgroup * ROWS, row = first_row + 16 * warp + lane / 4;

  float log[2] = {}, delta[2] = {};  // of the two rows of a thread, where they are queries
  if constexpr (!OF_KEYS) {
    const long long start = (long long)(work.batch * p.heads + work.head) * p.queries;
#pragma unroll
    for (int half = 0; half < 2; half++)
      if (row + 8 * half < p.queries)
        log[half] = logs[start + row + 8 * half], delta[half] = deltas[start + row + 8 * half];
  }

  float s[TILE_N / 2], d[TILE_N / 2], sums_x[SUMS_X / 2], sums_y[SUMS_Y / 2];
  unsigned rounded[TILE_N / 16][4], rounded_d[TILE_N / 16][4];
#pragma unroll
  for (int i = 0; i < SUMS_X / 2; i++) sums_x[i] = 0.0f;
#pragma unroll
  for (int i = 0; i < SUMS_Y / 2 && OF_KEYS; i++) sums_y[i] = 0.0f;

  mbarrier_wait(shared + OWN_AT + 8 * warpgroup, 0);
  Position at(work), next(work);
  unsigned previous = 0;
  if (work.steps() > 0) mbarrier_wait(shared + FULL_AT + 8 * at.stage, at.phase);
  for (int step = work.steps(); step > 0; step--) {
    const unsigned long long u = u0 + at.stage * (STAGE_BYTES / 16), w = w0 + at.stage * (STAGE_BYTES / 16);
    wgmma_fence();
    multiply_rows<TYPE, TILE_N, HEAD>(s, x, u);
    multiply_rows<TYPE, TILE_N, HEAD_V>(d, y, w);
    wgmma_wait<1>();  // for s, and for what was added up from the stage before this one
    wgmma_hold(s);
    wgmma_hold(sums_x);
    if (OF_KEYS) wgmma_hold(sums_y);
    if (previous != 0 && lane == 0) mbarrier_arrive(previous);
    previous = shared + EMPTY_AT + 8 * at.stage;

    const int first = at.tile * TILE_N;
    if (OF_KEYS ? first + p.visible < first_row + ROWS : first + TILE_N > min(p.keys, first_row + p.visible))
      hide(p, s, row, first + lane % 4 * 2);
    const float* const numbers =
        reinterpret_cast<const float*>(memory + NUMBERS_AT) + at.stage * NUMBERS + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++) {
      float2 of_column = {};
      if constexpr (OF_KEYS) of_column = *reinterpret_cast<const float2*>(numbers + 8 * j);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float shift = OF_KEYS ? (i % 2 ? of_column.y : of_column.x) : log[i / 2];
        s[4 * j + i] = exp2_approx(fmaf(s[4 * j + i], p.scale_log2, -shift));
      }
    }
    if constexpr (OF_KEYS) {
      round_weights<TYPE, TILE_N>(rounded, s);
      wgmma_fence();
      multiply_weights<TYPE, TILE_N, SUMS_Y>(sums_y, rounded, w, false);
    } else {
      wgmma_hold(s);
    }
    next.advance(work);
    if (step > 1) mbarrier_wait(shared + FULL_AT + 8 * next.stage, next.phase);
    wgmma_wait<OF_KEYS>();  // for d
    wgmma_hold(d);
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++) {
      float2 of_column = {};
      if constexpr (OF_KEYS) of_column = *reinterpret_cast<const float2*>(numbers + TILE_N + 8 * j);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float mean = OF_KEYS ? (i % 2 ? of_column.y : of_column.x) : delta[i / 2];
        d[4 * j + i] = weight(rounded, s, j, i) * (d[4 * j + i] - mean);
      }
    }
    round_weights<TYPE, TILE_N>(rounded_d, d);
    wgmma_fence();
    multiply_weights<TYPE, TILE_N, SUMS_X>(sums_x, rounded_d, u, false);
    if (OF_KEYS) wgmma_wait<1>();  // for the first sums alone: their weights' registers are wanted
    at = next;
  }
  wgmma_wait<0>();
  wgmma_hold(sums_x);
  if (OF_KEYS) wgmma_hold(sums_y);

  // The rows that belong to this warpgroup alone have been read for the last time: results take their place.
  bar_sync(1 + warpgroup, 128);
  const float scale[2] = {p.scale, p.scale}, one[2] = {1.0f, 1.0f};
  put_rows<TYPE, SUMS_X>(x_at, sums_x, scale);
  if constexpr (OF_KEYS) put_rows<TYPE, SUMS_Y>(y_at, sums_y, one);
  fence_proxy_async();
  bar_sync(1 + warpgroup, 128);
  if (warp == 0 && elect_one()) {
    store_boxes<boxes(HEAD)>(map_gx, x_at, first_row, work.head, work.batch);
    if constexpr (OF_KEYS) store_boxes<boxes(HEAD_V)>(map_gy, y_at, first_row, work.head, work.batch);
    bulk_wait<0>();
  }
}

// map_gx and map_gy are of the gradients of x and y; the latter is of keys alone.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_sm90_backward(const __grid_constant__ TensorMap map_x, const __grid_constant__ TensorMap map_y,
                            const __grid_constant__ TensorMap map_u, const __grid_constant__ TensorMap map_w,
                            const __grid_constant__ TensorMap map_gx, const __grid_constant__ TensorMap map_gy,
                            const float* logs, const float* deltas, const __grid_constant__ Problem p) {
  DYNAMIC_SHARED(unsigned char, shared_memory, 1024);
  const unsigned shared = smem_u32(shared_memory);
  const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // one value per warp, and the compiler knows it

  if (warp == 0 && elect_one()) {
    prefetch_tensor_map(&map_x);
    prefetch_tensor_map(&map_y);
    prefetch_tensor_map(&map_u);
    prefetch_tensor_map(&map_w);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(shared + FULL_AT + 8 * i, OF_KEYS ? 33 : 1);  // TMA's, and one per lane of the warp of numbers
      mbarrier_init(shared + EMPTY_AT + 8 * i, 4 * CONSUMERS);
    }
    for (int i = 0; i < CONSUMERS; i++) mbarrier_init(shared + OWN_AT + 8 * i, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  grid_dependency_wait();

  const Work work(p);
  if (warp < 4) {
    setmaxnreg_dec<Share::FEWER>();
    if (warp == 0 && elect_one()) {
      produce(p, work, &map_x, &map_y, &map_u, &map_w, shared);
      grid_dependency_launch();
    }
    if (OF_KEYS && warp == 1) produce_numbers(p, work, logs, deltas, shared);
  } else {
    setmaxnreg_inc<Share::MORE>();
    consume(p, work, logs, deltas, &map_gx, &map_gy, shared_memory, warp - 4);
  }
}
EXPORT_KERNEL(attention_sm90_backward)

#endif
