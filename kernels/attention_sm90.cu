// Attention, forward, for Hopper: TMA feeds rings of keys and values, wgmma multiplies from them, and the softmax of one
// warpgroup runs behind the products of another. Shah et al., "FlashAttention-3: fast and accurate attention with
// asynchrony and low-precision" (2024); the running maximum is Milakov and Gimelshein's, "Online normalizer calculation
// for softmax" (2018).
//
//   out = softmax(scale q k^T) v,  lse = logarithm of the softmax's denominator
//
// One warp keeps the rings full. A warpgroup owns 64 rows of q: scores come from shared memory into registers, turn into
// weights there, and are the left factor of the product with the values. The product of the next keys is issued before
// that of the weights at hand, and both before the softmax of what the first gives; and warpgroups issue in turn
// (TURNS), so that tensor cores multiply for one while the other takes exponentials. Blocks are persistent. Rows, keys
// and columns outside of a head are zero on the way in and dropped on the way out; defines in attention_sm90/tile.cuh.
#include "attention_sm90/tile.cuh"

#if WEFT_WGMMA

constexpr float LN_2 = 0.6931471805599453f;

// The boxes of a tile of rows of one head.
template <int COUNT, int BYTES>
DEVICE_INLINE void load_rows(unsigned to, const TensorMap* map, unsigned full, int row, int head, int batch) {
  mbarrier_arrive_expect_tx(full, COUNT * BYTES);
  load_boxes<COUNT, BYTES>(to, map, full, row, head, batch);
}

// The producer, one thread: queries, keys and values of every tile of this block, in the order in which they are used.
DEVICE_INLINE void produce(const Problem& p, const Until& until, const TensorMap* map_q, const TensorMap* map_k,
                           const TensorMap* map_v, unsigned shared) {
  Ring keys, values;
  unsigned q_phase = 0;
  Schedule schedule = {p, until};
  Tile tile;
  while (schedule.next(tile)) {
    const int head = tile.head / p.group, outer = tile.outer();
    auto load_keys = [&](int step) {
      mbarrier_wait(shared + K_EMPTY_AT + 8 * keys.stage, keys.phase ^ 1);
      load_rows<BOXES, TALL_BOX_BYTES>(shared + K_AT + keys.stage * K_BYTES, map_k, shared + K_FULL_AT + 8 * keys.stage,
                                       tile.first_key + step * TILE_N, head, outer);
      keys.advance();
    };
    auto load_values = [&](int step) {
      mbarrier_wait(shared + V_EMPTY_AT + 8 * values.stage, values.phase ^ 1);
      load_rows<BOXES_V, TALL_BOX_BYTES>(shared + V_AT + values.stage * V_BYTES, map_v,
                                         shared + V_FULL_AT + 8 * values.stage, tile.first_key + step * TILE_N, head,
                                         outer);
      values.advance();
    };
    load_keys(tile.steps - 1);
    for (int i = 0; i < CONSUMERS; i++) {
      mbarrier_wait(shared + Q_EMPTY_AT + 8 * i, q_phase ^ 1);
      load_rows<BOXES, BOX_BYTES>(shared + Q_AT + i * Q_BYTES, map_q, shared + Q_FULL_AT + 8 * i,
                                  tile.first_query + tile.row + i * ROWS, tile.head, outer);
    }
    q_phase ^= 1;
    for (int step = tile.steps - 1; step > 0; step--) {
      load_keys(step - 1);
      load_values(step);
    }
    load_values(0);
  }
}

// What a thread knows of its two rows, those of its scores 4j + i with i / 2 equal.
struct Rows {
  float largest[2], sum[2];

  // Turns scores into weights relative to the largest so far; `scale` brings what was computed before to them.
  template <bool FIRST>
  DEVICE_INLINE void soften(float (&s)[TILE_N / 2], float (&scale)[2], float factor) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float high[2] = {FIRST ? s[2 * half] : fmaxf(largest[half], s[2 * half]), s[2 * half + 1]};
#pragma unroll
      for (int j = 1; j < TILE_N / 8; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) high[i] = fmaxf(high[i], s[4 * j + 2 * half + i]);
      high[0] = fmaxf(high[0], high[1]);
      high[0] = fmaxf(high[0], __shfl_xor_sync(0xffffffffu, high[0], 1));
      high[0] = fmaxf(high[0], __shfl_xor_sync(0xffffffffu, high[0], 2));
      const float shift = high[0] == -INFINITY ? 0.0f : high[0] * factor;  // of a row that has seen nothing yet
      if constexpr (!FIRST) scale[half] = exp2_approx(fmaf(largest[half], factor, -shift));
      largest[half] = high[0];
      float total[2] = {FIRST ? 0.0f : sum[half] * scale[half], 0.0f};
#pragma unroll
      for (int j = 0; j < TILE_N / 8; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float& x = s[4 * j + 2 * half + i];
          x = exp2_approx(fmaf(x, factor, -shift));
          total[i] += x;
        }
      sum[half] = total[0] + total[1];
    }
  }
};

// Hides the keys from `first` on that the rows from `row` on do not see. A thread has the scores of rows `row` and
// `row` + 8, of the keys 8j, 8j + 1 after `first`.
DEVICE_INLINE void hide(const Tile& tile, float (&s)[TILE_N / 2], int row, int first) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int seen = min(tile.keys, row + 8 * half + tile.visible) - first;
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++)
#pragma unroll
      for (int i = 0; i < 2; i++)
        if (8 * j + i >= seen) s[4 * j + 2 * half + i] = -INFINITY;
  }
}

// A consumer warpgroup: its 64 rows of every tile.
struct Consumer {
  const Problem& p;
  const Until until;
  const TensorMap* map_out;
  TYPE* out;
  float* lse;
  unsigned char* memory;
  unsigned shared;
  int warpgroup, thread, warp, lane;
  Ring keys, values;
  unsigned q_phase = 0;

  DEVICE_INLINE Consumer(const Problem& p, const Until& until, const TensorMap* map_out, TYPE* out, float* lse,
                         unsigned char* memory, int consumer_warp)
      : p(p),
        until(until),
        map_out(map_out),
        out(out),
        lse(lse),
        memory(memory),
        shared(smem_u32(memory)),
        warpgroup(consumer_warp / 4),
        thread(threadIdx.x % 128),
        warp(consumer_warp % 4),
        lane(thread % 32) {}

  DEVICE_INLINE bool speaks() const { return warp == 0 && elect_one(); }
  DEVICE_INLINE void warpgroup_sync() const { bar_sync(1 + CONSUMERS + warpgroup, 128); }
  DEVICE_INLINE void release(unsigned empty) const {
    if (lane == 0) mbarrier_arrive(empty);
  }

  // The right to issue products goes round. The first in turn has it to begin with.
  DEVICE_INLINE void take_turn(bool first) const {
    if (TURNS && !(first && warpgroup == 0)) bar_sync(1 + warpgroup, 256);
  }
  DEVICE_INLINE void pass_turn() const {
    if constexpr (TURNS) bar_arrive(1 + (warpgroup + 1) % CONSUMERS, 256);
  }

  DEVICE_INLINE void run() {
    const unsigned q_at = shared + Q_AT + warpgroup * Q_BYTES;
    const unsigned q_full = shared + Q_FULL_AT + 8 * warpgroup, q_empty = shared + Q_EMPTY_AT + 8 * warpgroup;
    const unsigned long long q = smem_descriptor(q_at, 0, 8 * ROW, 128);
    const unsigned long long k0 = smem_descriptor(shared + K_AT, 0, 8 * ROW, 128);
    const unsigned long long v0 = smem_descriptor(shared + V_AT, TALL_BOX_BYTES, 8 * ROW, 128);
    float s[TILE_N / 2], sums[SUMS / 2], scale[2];
    unsigned weights[TILE_N / 16][4];
    Rows rows;
    bool first_turn = true;

    Schedule schedule = {p, until};
    Tile tile, next;
    for (bool more = schedule.next(tile); more; tile = next) {
      const int first_row = tile.row + warpgroup * ROWS, row = first_row + 16 * warp + lane / 4;
      const int seen_by_all = min(tile.keys, first_row + tile.visible);
      auto hide_at = [&](int step) {
        if ((step + 1) * TILE_N > seen_by_all) hide(tile, s, row, step * TILE_N + lane % 4 * 2);
      };

      mbarrier_wait(q_full, q_phase);
      q_phase ^= 1;
      mbarrier_wait(shared + K_FULL_AT + 8 * keys.stage, keys.phase);
      wgmma_fence();
      multiply_rows<TYPE, TILE_N, HEAD>(s, q, k0 + keys.stage * (K_BYTES / 16));
      wgmma_wait<0>();
      wgmma_hold(s);
      release(shared + K_EMPTY_AT + 8 * keys.stage);
      keys.advance();
      hide_at(tile.steps - 1);
      rows.soften<true>(s, scale, p.scale_log2);
      round_weights<TYPE, TILE_N>(weights, s);
      mbarrier_wait(shared + V_FULL_AT + 8 * values.stage, values.phase);
      if constexpr (VARLEN) clear_values(tile.keys - (tile.steps - 1) * TILE_N);

      for (int step = tile.steps - 2; step >= 0; step--) {
        mbarrier_wait(shared + K_FULL_AT + 8 * keys.stage, keys.phase);
        take_turn(first_turn);
        first_turn = false;
        wgmma_fence();
        multiply_rows<TYPE, TILE_N, HEAD>(s, q, k0 + keys.stage * (K_BYTES / 16));
        multiply_weights<TYPE, TILE_N, SUMS>(sums, weights, v0 + values.stage * (V_BYTES / 16), step == tile.steps - 2);
        pass_turn();
        wgmma_wait<1>();
        wgmma_hold(s);
        release(shared + K_EMPTY_AT + 8 * keys.stage);
        keys.advance();
        hide_at(step);
        rows.soften<false>(s, scale, p.scale_log2);
        wgmma_hold(s);
        const unsigned v_empty = shared + V_EMPTY_AT + 8 * values.stage;
        values.advance();
        mbarrier_wait(shared + V_FULL_AT + 8 * values.stage, values.phase);
        wgmma_wait<0>();
        wgmma_hold(sums);
        release(v_empty);
#pragma unroll
        for (int i = 0; i < SUMS / 2; i++) sums[i] *= scale[i / 2 % 2];
        round_weights<TYPE, TILE_N>(weights, s);
      }
      if constexpr (!OUT_IN_Q) release(q_empty);

      wgmma_fence();
      multiply_weights<TYPE, TILE_N, SUMS>(sums, weights, v0 + values.stage * (V_BYTES / 16), tile.steps == 1);
      more = schedule.next(next);  // worked out while the last product runs
      wgmma_wait<0>();
      wgmma_hold(sums);
      release(shared + V_EMPTY_AT + 8 * values.stage);
      values.advance();
      finish(tile, sums, rows);
      if constexpr (OUT_IN_Q) {
        if (speaks()) bulk_wait_read<0>();
        __syncwarp();
        release(q_empty);
      }
    }
    if (!first_turn && warpgroup == 0) take_turn(false);  // what the last in turn has passed on
    if (speaks()) bulk_wait<0>();
  }

  // The last tile of a sequence's values goes on with those of the next one, or with what nobody has written. Their
  // weights are 0, but they need not be finite.
  DEVICE_INLINE void clear_values(int there) const {
    if (there >= TILE_N) return;
    uint4* const at = reinterpret_cast<uint4*>(memory + V_AT + values.stage * V_BYTES);
    constexpr int UNITS = ROW / 16;
#pragma unroll
    for (int box = 0; box < BOXES_V; box++)
      for (int i = there * UNITS + warpgroup * 128 + thread; i < TILE_N * UNITS; i += CONSUMERS * 128)
        at[box * (TALL_BOX_BYTES / 16) + i] = uint4{0, 0, 0, 0};
    fence_proxy_async();
    bar_sync(1 + 2 * CONSUMERS, 128 * CONSUMERS);
  }

  // Divides by the sums and sends the rows away.
  DEVICE_INLINE void finish(const Tile& tile, const float (&sums)[SUMS / 2], const Rows& rows) const {
    const int first_row = tile.row + warpgroup * ROWS;
    float* const lse_rows = lse + tile.batch * p.lse_batch + tile.head * p.lse_head + tile.first_query;
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float sum = warp_reduce<4>(rows.sum[half], [](float x, float y) { return x + y; });
      inverse[half] = sum != 0.0f ? 1.0f / sum : 0.0f;
      const int row = first_row + 16 * warp + lane / 4 + 8 * half;
      if (lane % 4 == 0 && row < tile.queries)
        lse_rows[row] = sum != 0.0f ? rows.largest[half] * (p.scale_log2 * LN_2) + logf(sum) : -INFINITY;
    }
    const unsigned buffer = shared + OUT_AT + warpgroup * OUT_STEP;
    if (speaks()) bulk_wait_read<0>();
    warpgroup_sync();  // the rows of the tile before have left the buffer
    put_rows<TYPE, SUMS>(buffer, sums, inverse);
    fence_proxy_async();
    warpgroup_sync();
    const int rows_left = tile.queries - first_row;
    if (VARLEN && rows_left < ROWS) {  // what follows is of the next sequence
      copy_rows(tile, memory + OUT_AT + warpgroup * OUT_STEP, first_row, rows_left);
    } else if (speaks()) {
      store_boxes<BOXES_V>(map_out, buffer, tile.first_query + first_row, tile.head, tile.outer());
    }
  }

  // The first `count` rows of a buffer to out, by 16 bytes.
  DEVICE_INLINE void copy_rows(const Tile& tile, const unsigned char* buffer, int first_row, int count) const {
    TYPE* const to = out + (tile.first_query + first_row) * p.out_row + tile.head * p.out_head;
    const int unit = thread % 8;
    for (int r = thread / 8; r < count; r += 16)
#pragma unroll
      for (int box = 0; box < BOXES_V; box++)
        if (box * COLUMNS + unit * 8 < p.head_v)
          *reinterpret_cast<uint4*>(to + r * p.out_row + box * COLUMNS + unit * 8) =
              *reinterpret_cast<const uint4*>(buffer + box * BOX_BYTES + r * ROW + ((unit ^ r % 8) << 4));
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    attention_sm90(const __grid_constant__ TensorMap map_q, const __grid_constant__ TensorMap map_k,
                   const __grid_constant__ TensorMap map_v, const __grid_constant__ TensorMap map_out, TYPE* out,
                   float* lse, const int* queries_until, const int* keys_until, const __grid_constant__ Problem p) {
  DYNAMIC_SHARED(unsigned char, shared_memory, 1024);
  const unsigned shared = smem_u32(shared_memory);
  const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // one value per warp, and the compiler knows it

  if (warp == 0 && elect_one()) {
    prefetch_tensor_map(&map_q);
    prefetch_tensor_map(&map_k);
    prefetch_tensor_map(&map_v);
    prefetch_tensor_map(&map_out);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(shared + K_FULL_AT + 8 * i, 1);
      mbarrier_init(shared + V_FULL_AT + 8 * i, 1);
      mbarrier_init(shared + K_EMPTY_AT + 8 * i, 4 * CONSUMERS);
      mbarrier_init(shared + V_EMPTY_AT + 8 * i, 4 * CONSUMERS);
    }
    for (int i = 0; i < CONSUMERS; i++) {
      mbarrier_init(shared + Q_FULL_AT + 8 * i, 1);
      mbarrier_init(shared + Q_EMPTY_AT + 8 * i, 4);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  grid_dependency_wait();

  const Until until = {queries_until, keys_until};
  if (warp < 4) {
    setmaxnreg_dec<Share::FEWER>();
    if (warp == 0 && elect_one()) {
      produce(p, until, &map_q, &map_k, &map_v, shared);
      grid_dependency_launch();
    }
  } else {
    setmaxnreg_inc<Share::MORE>();
    Consumer(p, until, &map_out, out, lse, shared_memory, warp - 4).run();
  }
}
EXPORT_KERNEL(attention_sm90)

#endif
