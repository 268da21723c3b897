// Which thread runs next: one ready queue per worker, four policies, and what happens when nobody can run.
#include "runtime.h"

#include <algorithm>
#include <unistd.h>

namespace emulator {

constexpr int MOST_UNCHANGED_ROUNDS = 5000;
constexpr int MOST_IDLE_ROUNDS = 200;  // of threads that poll while nothing changes: then it is a deadlock

void ReadyQueue::grow() {
  const size_t count = size();
  std::unique_ptr<Thread*[]> ring(new Thread*[2 * (mask_ + 1)]);
  for (size_t i = 0; i < count; i++) ring[i] = ring_[(head_ + i) & mask_];
  ring_ = std::move(ring);
  mask_ = 2 * mask_ + 1;
  head_ = 0, tail_ = count;
}

void wake(Thread* thread) {
  thread->state = State::ready;
  worker->ready.push(thread);  // which is its own: a block stays on one
}

void wait(State state, const char* file, int line) {
  Thread& thread = current();
  thread.state = state, thread.file = file, thread.line = line;
  if (state != State::polling) worker->event();
  Thread* next = worker->pick();
  if (next == &thread) return;
  if (!next->started) prepare(*next, take_stack(*worker));
  emu_current = next;
  emu_switch(&thread.stack_pointer, next->stack_pointer);
}

// Threads are numbered when a block starts, and made ready one by one as they begin.
Thread* Worker::pick_new() {
  if (starting.empty()) return nullptr;
  Block& block = *starting.front();
  const int i = block.begun++;
  if (block.begun == block.thread_count) starting.erase(starting.begin());
  Thread& thread = block.threads[size_t(policy == Schedule::reverse ? block.thread_count - 1 - i : i)];
  thread.state = State::ready, thread.started = false;
  thread.file = nullptr, thread.watched = nullptr, thread.cluster_arrived = false;
  return &thread;
}

Thread* Worker::pick() {
  for (;;) {
    if (policy == Schedule::fifo || policy == Schedule::reverse) {
      if (!starting.empty()) return pick_new();
      if (!ready.empty()) return ready.pop_front();
    } else {
      if (policy == Schedule::random) {
        while (Thread* thread = pick_new()) ready.push(thread);
        if (!ready.empty()) return ready.pop_any(random() / 65536 % ready.size());
      }
      if (!ready.empty()) return ready.pop_back();
      if (!starting.empty()) return pick_new();
    }
    if (grid.failed.load(std::memory_order_relaxed)) {
      if (resident.empty()) return nullptr;
      emu_current = nullptr;
      fail(nullptr, 0, "another block failed");
    }
    if (complete_one() || wake_pollers(false) || start_more()) continue;
    if (resident.empty()) return nullptr;
    if (polling.empty() || !wait_for_others()) deadlock(*this);
  }
}

// One of the async copies under way completes.
bool Worker::complete_one() {
  if (loads.empty()) return false;
  size_t i = 0;
  if (policy == Schedule::random) i = random() / 65536 % loads.size();
  if (policy == Schedule::lifo) i = loads.size() - 1;
  const BulkOperation operation = loads[i];
  loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(i));
  EmuThread* thread = emu_current;
  emu_current = nullptr;
  landing = &operation;
  bulk_execute(operation);
  landing = nullptr;
  emu_current = thread;
  return true;
}

// What a thread polls has another value now.
static bool changed(const Thread& thread) {
  return thread.watched &&
         __atomic_load_n(static_cast<const unsigned*>(thread.watched), __ATOMIC_ACQUIRE) != thread.watched_value;
}

bool Worker::wake_pollers(bool all) {
  bool any = false;
  for (size_t i = 0; i < polling.size();) {
    Thread* thread = polling[i];
    const bool woken = changed(*thread);
    if (woken) event();
    if (woken || (all && thread->state == State::polling)) {
      thread->watched = nullptr;  // it looks again
      polling.erase(polling.begin() + static_cast<std::ptrdiff_t>(i));
      wake(thread);
      any = true;
    } else {
      i++;
    }
  }
  return any;
}

// The next block (or cluster) becomes resident where none is, or where those that are wait for others.
bool Worker::start_more() {
  if (!resident.empty() && polling.empty()) return false;
  if (grid.failed.load(std::memory_order_relaxed)) return false;
  const int blocks = static_cast<int>(grid.unit_blocks);
  if (!resident.empty() && grid.resident.load() + blocks > grid.launch->resident_blocks) return false;
  if (grid.next_unit.load(std::memory_order_relaxed) >= grid.units) return false;
  const unsigned unit = grid.next_unit.fetch_add(1);
  if (unit >= grid.units) return false;
  grid.resident += blocks;
  change();
  start_unit(unit);
  return true;
}

// Whether all workers have asked in vain since the latest thing that happened anywhere; or for long since the latest
// that others may see (a loop that polls may hold barriers of its own block).
static bool everyone_idle(uint64_t happened, uint64_t changed) {
  bool idle = true, unchanged = true;
  for (const Worker* other : grid.crew) {
    if (!other->running.load(std::memory_order_acquire)) continue;
    idle &= other->idle_since.load() == happened && other->idle_rounds.load() > 3;
    unchanged &= other->unchanged_since.load() == changed && other->unchanged_rounds.load() > MOST_UNCHANGED_ROUNDS;
  }
  return idle || unchanged;
}

// Every thread here waits, some of them for other blocks: those look again. False where nothing will ever change.
bool Worker::wait_for_others() {
  uint64_t happened = 0, changed = 0;
  for (const Worker* other : grid.crew) {
    happened += other->events.load(std::memory_order_relaxed);
    changed += other->changes.load(std::memory_order_relaxed);
  }
  if (idle_since.load() != happened) idle_rounds = 0, idle_since = happened;
  if (unchanged_since.load() != changed) unchanged_rounds = 0, unchanged_since = changed;
  const int rounds = ++idle_rounds;
  const bool long_enough = ++unchanged_rounds > MOST_UNCHANGED_ROUNDS || rounds > MOST_IDLE_ROUNDS;
  if (long_enough && everyone_idle(happened, changed)) return false;
  if (rounds > 3 && grid.active.load() > 1) usleep(useconds_t(5 * std::min(rounds, 20)));
  wake_pollers(true);
  return true;
}

void thread_exits(Thread& thread) {
  Block& block = thread.home();
  if (thread.transfers) {
    if (!thread.stores.empty() || !thread.store_groups.empty()) bulk_thread_exits(thread);
    thread.copies.clear();
    thread.transfers = false;
  }
  thread.state = State::exited;
  worker->change();
  block.alive--;
  if (block.cluster_home) cluster_thread_exits(block);
  if (block.alive == 0) retire(block);
}

// A block (of a cluster: the last one) leaves the worker.
void retire(Block& block) {
  Worker& on = *block.worker;
  for (size_t i = 0; i < on.loads.size();) {  // copies that nobody waited for land before the memory is reused
    const BulkOperation operation = on.loads[i];
    const bool mine = operation.block == &block;
    const bool here = (mine || (block.cluster_home && operation.block->cluster_home == block.cluster_home)) &&
                      (operation.mask >> block.cluster_rank & 1);
    if (!mine && !here) {
      i++;
      continue;
    }
    if (block.checked && here)
      fail(operation.file, operation.line, "the block exits while this async copy into its shared memory is under way");
    on.loads.erase(on.loads.begin() + static_cast<std::ptrdiff_t>(i));
    bulk_execute(operation);
  }
  if (block.checked) end_checks(block);
  block.exited = true;
  grid.blocks_done++;
  grid.resident--;
  Cluster* cluster = block.cluster_home;
  if (cluster && cluster->alive) return;
  const auto leave = [&on](Block* leaving) {
    const auto place =
        std::find_if(on.resident.begin(), on.resident.end(), [&](auto& b) { return b.get() == leaving; });
    on.spare.push_back(std::move(*place));
    on.resident.erase(place);
  };
  if (!cluster) return leave(&block);
  for (Block* member : cluster->blocks) leave(member);
  const auto place = std::find_if(on.clusters.begin(), on.clusters.end(), [&](auto& c) { return c.get() == cluster; });
  on.clusters.erase(place);
}

}  // namespace emulator

using namespace emulator;

// In a loop that polls, what it polled before is what it waits for.
extern "C" void emu_yield() {
  Thread& thread = current();
  worker->polling.push_back(&thread);
  wait(State::polling, thread.file, thread.line);
}
