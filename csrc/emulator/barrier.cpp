// Barriers: of a block, of a cluster, of the grid.
#include "runtime.h"

#include <algorithm>

namespace emulator {

static void wake_all(std::vector<Thread*>& waiting) {
  if (schedule() == Schedule::lifo || schedule() == Schedule::reverse) std::reverse(waiting.begin(), waiting.end());
  for (Thread* thread : waiting) wake(thread);
  waiting.clear();
}

static void complete(Block& block, Barrier& barrier, Thread* last) {
  if (block.checked) {
    uint32_t warps = last ? 1u << last->warp : 0;
    for (Thread* thread : barrier.waiting) warps |= 1u << thread->warp;
    for (int warp = 0; warp < WARPS; warp++) {
      if (!(warps >> warp & 1)) continue;
      acquire(barrier.clock, block, warp);
      order_lanes(block, warp, FULL_WARP);
    }
    barrier.clock.reset();
  }
  barrier.arrived = barrier.expected = 0;
  barrier.file = nullptr;
  wake_all(barrier.waiting);
}

static void complete(Cluster& cluster) {
  cluster.arrived = 0, cluster.phase++;
  if (cluster.blocks.front()->checked) {
    cluster.released = cluster.clock;
    cluster.clock.reset();
    for (Block* block : cluster.blocks)
      for (int warp = 0; warp * WARP < block->thread_count; warp++) order_lanes(*block, warp, FULL_WARP);
  }
  wake_all(cluster.waiting);
}

void cluster_thread_exits(Block& block) {
  Cluster& cluster = *block.cluster_home;
  cluster.alive--;
  if (cluster.arrived && cluster.arrived == cluster.alive) complete(cluster);
}

}  // namespace emulator

using namespace emulator;

extern "C" void emu_barrier(int id, int count, int arrive_only, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (id < 0 || id >= NAMED_BARRIERS) FAIL("barrier: expected an id from 0 to 15, got %d", id);
  if (count % WARP) FAIL("barrier %d: expected a multiple of 32 threads, got %d", id, count);
  if (count > (block.thread_count + WARP - 1) / WARP * WARP)
    FAIL("barrier %d: expected at most the block's %d threads, got %d", id, block.thread_count, count);
  Barrier& barrier = block.barriers[id];
  const int expected = count ? count : block.thread_count;
  if (barrier.arrived) {
    if (barrier.expected != expected)
      FAIL("barrier %d: %d threads expected here, but %d at %s:%d", id, expected, barrier.expected,
           base_name(barrier.file), barrier.line);
    if (count == 0 && (barrier.line != line || strcmp(barrier.file, file)))
      FAIL("divergent __syncthreads: other threads of the block wait at %s:%d", base_name(barrier.file), barrier.line);
  }
  barrier.expected = expected, barrier.file = file, barrier.line = line;
  barrier.arrived++;
  if (block.checked) release(barrier.clock, block, thread.warp);
  if (barrier.arrived == expected) return complete(block, barrier, arrive_only ? nullptr : &thread);
  if (arrive_only) return;
  barrier.waiting.push_back(&thread);
  wait(State::barrier, file, line);
}

extern "C" int emu_barrier_reduce(int operation, int predicate, const char* file, int line) {
  Block& block = current().home();
  Barrier& barrier = block.barriers[0];
  if (!barrier.arrived) barrier.reduced[0] = 0, barrier.reduced[1] = 1, barrier.reduced[2] = 0;
  barrier.reduced[0] |= predicate != 0;
  barrier.reduced[1] &= predicate != 0;
  barrier.reduced[2] += predicate != 0;
  if (barrier.arrived + 1 == block.thread_count) memcpy(block.reduced, barrier.reduced, sizeof block.reduced);
  emu_barrier(0, 0, 0, file, line);
  return block.reduced[operation];
}

extern "C" unsigned emu_cluster_rank() { return current().block->cluster_rank; }
extern "C" unsigned emu_cluster_size() { return current().block->cluster_blocks; }

extern "C" void emu_cluster_arrive(int relaxed, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!block.cluster_home) {  // a launch without clusters: a cluster of one block, whose barrier is the block's own
    thread.cluster_arrived = true;
    thread.file = file, thread.line = line;
    return;
  }
  Cluster& cluster = *block.cluster_home;
  if (thread.cluster_arrived) FAIL("cluster_arrive: this thread has arrived before, without cluster_wait since");
  thread.cluster_arrived = true;
  thread.cluster_phase = cluster.phase;
  if (block.checked && !relaxed) release(cluster.clock, block, thread.warp);
  if (++cluster.arrived == cluster.alive) complete(cluster);
}

extern "C" void emu_cluster_wait(const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!thread.cluster_arrived) FAIL("cluster_wait without cluster_arrive");
  thread.cluster_arrived = false;
  if (!block.cluster_home) return emu_barrier(0, 0, 0, file, line);
  Cluster& cluster = *block.cluster_home;
  if (cluster.phase == thread.cluster_phase) {
    cluster.waiting.push_back(&thread);
    wait(State::cluster, file, line);
  }
  if (block.checked) acquire(cluster.released, block, thread.warp);
}

// All blocks of a cooperative launch are resident at once; each sends one thread to wait for the others.
extern "C" void emu_grid_sync(const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!grid.launch->cooperative) FAIL("grid_sync: expected a cooperative launch, got an ordinary one");
  emu_barrier(0, 0, 0, file, line);
  if (thread.linear == 0) {
    if (block.checked) release(grid.checks.grid_barrier, block, thread.warp);
    const unsigned phase = grid.grid_phase.load();
    const unsigned total = grid.units * grid.unit_blocks;
    if (grid.blocks_done.load()) FAIL("grid_sync: another block has exited");
    if (grid.grid_arrived.fetch_add(1) + 1 == total) {
      grid.grid_arrived = 0;
      grid.grid_phase++;
    }
    while (grid.grid_phase.load() == phase) {
      if (grid.blocks_done.load()) FAIL("grid_sync: another block has exited");
      thread.watched = &grid.grid_phase, thread.watched_value = phase;
      worker->polling.push_back(&thread);
      wait(State::grid, file, line);
    }
    if (block.checked) acquire(grid.checks.grid_barrier, block, thread.warp);
  }
  emu_barrier(0, 0, 0, file, line);
}

extern "C" uint3 emu_thread_index() { return emu_current->index; }
extern "C" uint3 emu_block_index() { return emu_current->block->index; }
extern "C" uint3 emu_block_size() {
  const dim3 size = emu_current->block->size;
  return {size.x, size.y, size.z};
}
extern "C" uint3 emu_grid_size() {
  const dim3 size = emu_current->block->grid;
  return {size.x, size.y, size.z};
}
