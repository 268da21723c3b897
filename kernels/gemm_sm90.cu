// GEMM for Hopper: TMA feeds a ring of shared memory, wgmma multiplies from it, TMA carries the tiles of out away.
//
// One warp keeps the ring full while one or two warpgroups multiply (or two teams in turn, see PINGPONG); blocks are
// persistent, so that a tile's loads run behind the multiplication of the one before it, and its store behind the next.
// A full barrier says that a stage has arrived, an empty one that every warp that read it is done, in each block of the
// cluster that it was multicast to. Whatever lies outside of a matrix is zero on the way in and dropped on the way out.
//
//   out = epilogue(A B), A (M, K), B (K, N), out (M, N), see epilogue.cuh; defines in gemm_sm90/tile.cuh
#include "gemm_sm90/store.cuh"

#if WEFT_WGMMA

struct Operand {
  const TensorMap* map;
  int outer, inner;  // 0 where the batch shares one matrix, else 1
};

// Loads the part of an operand's tile that this block owes its cluster: 1/SHARERS of it, sent to all who share it.
// `at` is the tile's place in the stage, `mn` its first row of A or column of B.
template <int TILE_MN, bool ROWS_ALONG_K, int SHARERS>
DEVICE_INLINE void load_operand(const Operand& x, unsigned at, unsigned full, int k, int mn, const Tile& tile,
                                int rank) {
  const int outer = x.outer * tile.outer, inner = x.inner * tile.inner;
  if constexpr (ROWS_ALONG_K) {
    constexpr int PART = TILE_MN / SHARERS;
    static_assert(PART % 8 == 0, "parts start where the swizzle does");
    load_box<SHARERS>(at + rank * PART * ROW, x.map, full, k, mn + rank * PART, inner, outer);
  } else {
#pragma unroll
    for (int box = 0; box < TILE_MN / 64; box++)
      if (box % SHARERS == rank) load_box<SHARERS>(at + box * BOX_BYTES, x.map, full, mn + box * 64, k, inner, outer);
  }
}

// The producer, one thread: every stage of every tile that this block takes part in.
DEVICE_INLINE void produce(const Problem& p, const Schedule& schedule, int cluster, int clusters, const Operand& a,
                           const Operand& b, unsigned shared) {
  Ring ring;
  for (int index = cluster; index < schedule.count; index += clusters) {
    const Tile tile = schedule(p, index);
    const Slices slices = schedule.slices_of(p, index);
    for (int slice = slices.begin; slice < slices.end; slice++) {
      const unsigned stage = shared + ring.stage * STAGE_BYTES, full = shared + FULL_AT + 8 * ring.stage;
      mbarrier_wait(shared + EMPTY_AT + 8 * ring.stage, ring.phase ^ 1);
      mbarrier_arrive_expect_tx(full, STAGE_BYTES);
      load_operand<TILE_M, A_ROWS_K, CLUSTER_N>(a, stage, full, slice * TILE_K, tile.row, tile, schedule.rank_n);
      load_operand<TILE_N, B_ROWS_K, CLUSTER_M>(b, stage + A_BYTES, full, slice * TILE_K, tile.column, tile,
                                                schedule.rank_m);
      ring.advance();
    }
  }
}

// sums (+)= A B over one stage. The first stage of a tile overwrites the sums, which therefore need no zeros.
template <bool FIRST>
DEVICE_INLINE void multiply(float (&sums)[ROWS_M][TILE_N / 2], unsigned long long a, unsigned long long b) {
  // Descriptors count in 16 bytes. 32 bytes of K are that far apart along a row, or 16 rows of 128 bytes.
  constexpr int A_STEP = A_ROWS_K ? 2 : 16 * ROW / 16, B_STEP = B_ROWS_K ? 2 : 16 * ROW / 16;
  wgmma_fence();
#pragma unroll
  for (int step = 0; step < STEPS; step++)
#pragma unroll
    for (int i = 0; i < ROWS_M; i++)
      wgmma<TILE_N, TYPE, !A_ROWS_K, !B_ROWS_K>(sums[i], a + i * (BOX_BYTES / 16) + step * A_STEP, b + step * B_STEP,
                                                !FIRST || step > 0);
  wgmma_commit();
}

// A consumer warpgroup: its rows of every tile of its team.
DEVICE_INLINE void consume(const Problem& p, const Schedule& schedule, int cluster, int clusters, unsigned shared,
                           int warpgroup, Writer& writer) {
  const int team = warpgroup / CONSUMERS, member = warpgroup % CONSUMERS, lane = threadIdx.x % 32;
  // Between 8 rows of 128 bytes lie 1,024; between boxes of 64 columns, where rows do not run along K, a box.
  const unsigned long long a0 = smem_descriptor(shared + member * ROWS_M * BOX_BYTES, BOX_BYTES, 8 * ROW, 128);
  const unsigned long long b0 = smem_descriptor(shared + A_BYTES, BOX_BYTES, 8 * ROW, 128);
  float sums[ROWS_M][TILE_N / 2];
  Ring ring;

  // A warp that is done with a stage says so to every block whose producer may refill it.
  auto release = [&](int stage) {
    const unsigned empty = shared + EMPTY_AT + 8 * stage;
    if constexpr (CLUSTER > 1) {
      if (lane < CLUSTER) mbarrier_arrive_remote(empty, lane);
    } else {
      if (lane == 0) mbarrier_arrive(empty);
    }
  };
  auto wait_full = [&] { mbarrier_wait(shared + FULL_AT + 8 * ring.stage, ring.phase); };

  // The teams multiply one after the other. Besides keeping the tensor cores to one tile, this keeps parities true: a
  // team that waited for a stage two rounds ahead would take the end of an earlier round for it.
  const unsigned my_turn = shared + TURN_AT + 8 * team, other_turn = shared + TURN_AT + 8 * (TEAMS - 1 - team);
  int turn = 0;
  for (int index = cluster; index < schedule.count; index += clusters, turn++) {
    const Slices slices = schedule.slices_of(p, index);
    const int count = slices.end - slices.begin;
    if (PINGPONG && turn % TEAMS != team) {
      ring.skip(count);
      continue;
    }
    if constexpr (PINGPONG)
      mbarrier_wait(my_turn, (turn / TEAMS & 1) ^ (team == 0));  // the first has no one to wait for
    wait_full();
    multiply<true>(sums, a0 + ring.stage * (STAGE_BYTES / 16), b0 + ring.stage * (STAGE_BYTES / 16));
    const Tile tile = schedule(p, index);  // worked out while the first products run
    writer.begin(tile);
    int previous = ring.stage;
    ring.advance();
    for (int i = 1; i < count; i++) {
      wait_full();
      multiply<false>(sums, a0 + ring.stage * (STAGE_BYTES / 16), b0 + ring.stage * (STAGE_BYTES / 16));
      wgmma_wait<1>();  // the stage before this one has been read
      release(previous);
      previous = ring.stage;
      ring.advance();
    }
    if (PINGPONG && lane == 0) mbarrier_arrive(other_turn);
    wgmma_wait<0>();
    release(previous);
    writer.end(sums, tile);
  }
  writer.close();
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    gemm_sm90(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
              const __grid_constant__ TensorMap map_out, const __grid_constant__ TensorMap map_extra, OUT* out,
              const BIAS_TYPE* bias, const __grid_constant__ Problem p, int band) {
  DYNAMIC_SHARED(unsigned char, shared_memory, 1024);
  const unsigned shared = smem_u32(shared_memory);
  const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // one value per warp, and the compiler knows it
  const int warpgroup = warp / 4;

  if (warp == 0 && elect_one()) {
    prefetch_tensor_map(&map_a);
    prefetch_tensor_map(&map_b);
    prefetch_tensor_map(&map_out);
    for (int i = 0; i < STAGES; i++) {
      mbarrier_init(shared + FULL_AT + 8 * i, 1);
      mbarrier_init(shared + EMPTY_AT + 8 * i, 4 * CONSUMERS * CLUSTER);
    }
    for (int i = 0; i < WARPGROUPS * STORE_BUFFERS; i++) mbarrier_init(shared + LOADED_AT + 8 * i, 1);
    for (int i = 0; PINGPONG && i < TEAMS; i++) mbarrier_init(shared + TURN_AT + 8 * i, 4 * CONSUMERS);
    fence_mbarrier_init();
  }
  if constexpr (CLUSTER > 1) {
    cluster_sync();
  } else {
    __syncthreads();
  }
  grid_dependency_wait();

  const int rank = CLUSTER > 1 ? cluster_rank() : 0;
  const int cluster = blockIdx.x / CLUSTER, clusters = gridDim.x / CLUSTER;
  const Schedule schedule(p, band, rank);
  if (warpgroup == 0) {
    if constexpr (WARPGROUPS > 1) setmaxnreg_dec<40>();
    if (warp == 0 && elect_one()) {
      const Operand a = {&map_a, p.a_outer != 0, p.a_inner != 0}, b = {&map_b, p.b_outer != 0, p.b_inner != 0};
      produce(p, schedule, cluster, clusters, a, b, shared);
      grid_dependency_launch();
    }
    __syncwarp();
    // A block stays until its neighbour has said the last "empty" to it.
    if constexpr (CLUSTER > 1) cluster_sync();
  } else {
    if constexpr (WARPGROUPS > 1) setmaxnreg_inc<232>();
    Writer writer(p, &map_out, &map_extra, out, bias, shared_memory, warp - 4);
    consume(p, schedule, cluster, clusters, shared, warpgroup - 1, writer);
    __syncwarp();
    if constexpr (CLUSTER > 1) cluster_sync();
  }
}
EXPORT_KERNEL(gemm_sm90)

#endif
