// The main loop of Hopper's matrix products and convolutions: TMA feeds a ring of shared memory, wgmma multiplies from
// it, TMA carries the tiles of out away.
//
// One warp keeps the ring full while one or two warpgroups multiply (or two teams in turn, see PINGPONG); blocks are
// persistent, so that a tile's loads run behind the multiplication of the one before it, and its store behind the next.
// A full barrier says that a stage has arrived, an empty one that every warp that read it is done, in each block of the
// cluster that it was multicast to.
//
// What is loaded is a Loader's affair, which the kernel brings:
//
//   A_PIECE, B_PIECE                bytes of a row of a box: 128, or 64, 32 or 16, and as many more boxes; each operand is
//                                   boxes of its tile's rows, or, where rows do not run along K, of 64 rows
//   prefetch()                      of its tensor maps
//   begin(tile, schedule, slice)    of each tile, with its first slice of K
//   load(stage, full, slice)        one slice to the shared address `stage`, which counts to the barrier `full`
#pragma once
#include "gemm_sm90/store.cuh"

#if WEFT_WGMMA

// The producer, one thread: every stage of every tile that this block takes part in.
template <class Loader>
DEVICE_INLINE void produce(const Problem& p, const Schedule& schedule, int cluster, int clusters, Loader& loader,
                           unsigned shared) {
  Ring ring;
  for (int index = cluster; index < schedule.count; index += clusters) {
    const Tile tile = schedule(p, index);
    const Slices slices = schedule.slices_of(p, index);
    loader.begin(tile, schedule, slices.begin);
    for (int slice = slices.begin; slice < slices.end; slice++) {
      const unsigned stage = shared + ring.stage * STAGE_BYTES, full = shared + FULL_AT + 8 * ring.stage;
      mbarrier_wait(shared + EMPTY_AT + 8 * ring.stage, ring.phase ^ 1);
      mbarrier_arrive_expect_tx(full, STAGE_BYTES);
      loader.load(stage, full, slice);
      ring.advance();
    }
  }
}

// How an operand of a stage lies in shared memory, for the descriptors of wgmma.
template <bool ROWS_ALONG_K, int TILE_MN, int PIECE>
struct Placement {
  static constexpr int BLOCK_BYTES = ROWS_ALONG_K ? 64 * PIECE : BOX_BYTES;  // from 64 rows of A to the next

  // Descriptors count in 16 bytes. 32 bytes of K are that far apart along a row and, where it ends, a box further on;
  // or, where rows do not run along K, 16 rows.
  static constexpr int step(int i) {
    return (ROWS_ALONG_K ? i * 32 / PIECE * TILE_MN * PIECE + i * 32 % PIECE : i * 16 * PIECE) / 16;
  }

  // Rows of 16 bytes are not swizzled: 8 of them are a block, and to the other side the next one lies a box further on.
  DEVICE_INLINE static unsigned long long descriptor(unsigned at) {
    constexpr int BOX = (ROWS_ALONG_K ? TILE_MN : 64) * PIECE, EIGHT = 8 * PIECE;
    if constexpr (PIECE > 16) return smem_descriptor(at, BOX, EIGHT, PIECE);
    return ROWS_ALONG_K ? smem_descriptor(at, BOX, EIGHT, 0) : smem_descriptor(at, EIGHT, BOX, 0);
  }
};

// sums (+)= A B over one stage. The first stage of a tile overwrites the sums, which therefore need no zeros.
template <bool FIRST, class A, class B>
DEVICE_INLINE void multiply(float (&sums)[ROWS_M][TILE_N / 2], unsigned long long a, unsigned long long b) {
  wgmma_fence();
#pragma unroll
  for (int step = 0; step < STEPS; step++)
#pragma unroll
    for (int i = 0; i < ROWS_M; i++)
      wgmma<TILE_N, TYPE, !A_ROWS_K, !B_ROWS_K>(sums[i], a + i * (A::BLOCK_BYTES / 16) + A::step(step),
                                                b + B::step(step), !FIRST || step > 0);
  wgmma_commit();
}

// A consumer warpgroup: its rows of every tile of its team.
template <class Loader>
DEVICE_INLINE void consume(const Problem& p, const Schedule& schedule, int cluster, int clusters, unsigned shared,
                           int warpgroup, Writer& writer) {
  using A = Placement<A_ROWS_K, TILE_M, Loader::A_PIECE>;
  using B = Placement<B_ROWS_K, TILE_N, Loader::B_PIECE>;
  const int team = warpgroup / CONSUMERS, member = warpgroup % CONSUMERS, lane = threadIdx.x % 32;
  const unsigned long long a0 = A::descriptor(shared + member * ROWS_M * A::BLOCK_BYTES);
  const unsigned long long b0 = B::descriptor(shared + A_BYTES);
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
    multiply<true, A, B>(sums, a0 + ring.stage * (STAGE_BYTES / 16), b0 + ring.stage * (STAGE_BYTES / 16));
    const Tile tile = schedule(p, index);  // worked out while the first products run
    writer.begin(tile);
    int previous = ring.stage;
    ring.advance();
    for (int i = 1; i < count; i++) {
      wait_full();
      multiply<false, A, B>(sums, a0 + ring.stage * (STAGE_BYTES / 16), b0 + ring.stage * (STAGE_BYTES / 16));
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

// The whole life of a block.
template <class Loader>
DEVICE_INLINE void run_block(const Problem& p, int band, Loader& loader, const TensorMap* map_out,
                             const TensorMap* map_extra, OUT* out, const BIAS_TYPE* bias,
                             unsigned char* shared_memory) {
  const unsigned shared = smem_u32(shared_memory);
  const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // one value per warp, and the compiler knows it
  const int warpgroup = warp / 4;

  if (warp == 0 && elect_one()) {
    loader.prefetch();
    prefetch_tensor_map(map_out);
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
      produce(p, schedule, cluster, clusters, loader, shared);
      grid_dependency_launch();
    }
    __syncwarp();
    // A block stays until its neighbour has said the last "empty" to it.
    if constexpr (CLUSTER > 1) cluster_sync();
  } else {
    if constexpr (WARPGROUPS > 1) setmaxnreg_inc<232>();
    Writer writer(p, map_out, map_extra, out, bias, shared_memory, warp - 4);
    consume<Loader>(p, schedule, cluster, clusters, shared, warpgroup - 1, writer);
    __syncwarp();
    if constexpr (CLUSTER > 1) cluster_sync();
  }
}

#endif
