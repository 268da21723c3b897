// mbarrier: a word in shared memory that counts the arrivals and the bytes still missing in its phase.
#include "runtime.h"

#include "mbarrier.h"

#include <algorithm>

namespace emulator {

// pending arrivals [0, 20), count [20, 40), bytes announced and not yet come [40, 62) with an offset, phase [63]
constexpr int COUNT_SHIFT = 20, BYTES_SHIFT = 40, PHASE_SHIFT = 63;
constexpr int64_t MOST_ARRIVALS = (1 << 20) - 1, BYTES_OFFSET = 1 << 20;
constexpr uint64_t UNINITIALISED = ~0ull;

static uint64_t load(const SharedAddress& at, unsigned address, const char* file, int line) {
  if (address % 8) FAIL("mbarrier: expected an address aligned to 8 bytes, got 0x%x", address);
  uint64_t word;
  memcpy(&word, at.pointer, 8);
  if (word == UNINITIALISED) FAIL("mbarrier at shared 0x%x is not initialised", at.offset);
  return word;
}

void mbarrier_update(Block& block, unsigned offset, int arrivals, int64_t bytes, const char* file, int line) {
  const SharedAddress at{&block, offset, shared_pointer(block, offset, 8, file, line)};
  const uint64_t word = load(at, offset, file, line);
  const int64_t count = int64_t(word >> COUNT_SHIFT) & MOST_ARRIVALS;
  int64_t pending = (int64_t(word) & MOST_ARRIVALS) - arrivals;
  int64_t missing = (int64_t(word >> BYTES_SHIFT) & 0x3fffff) - BYTES_OFFSET + bytes;
  uint64_t phase = word >> PHASE_SHIFT;
  if (pending < 0) FAIL("mbarrier at shared 0x%x: more arrivals than its count of %d", offset, int(count));
  if (missing <= -BYTES_OFFSET || missing >= BYTES_OFFSET) FAIL("mbarrier at shared 0x%x: byte count overflow", offset);
  if (pending == 0 && missing == 0) {
    phase ^= 1;
    pending = count;
    auto& waiting = block.mbarrier_waiting;
    for (size_t i = 0; i < waiting.size();) {
      if (waiting[i]->barrier_address != offset) {
        i++;
        continue;
      }
      wake(waiting[i]);
      waiting.erase(waiting.begin() + std::ptrdiff_t(i));
    }
  }
  const uint64_t updated = uint64_t(pending) | uint64_t(count) << COUNT_SHIFT |
                           uint64_t(missing + BYTES_OFFSET) << BYTES_SHIFT | phase << PHASE_SHIFT;
  memcpy(at.pointer, &updated, 8);
}

void mbarrier_fence(Thread& thread) {
  auto& unfenced = thread.home().unfenced;
  unfenced.erase(std::remove_if(unfenced.begin(), unfenced.end(), [&](auto& entry) { return entry.second == &thread; }),
                 unfenced.end());
}

void mbarrier_check_fence(const Block& block, unsigned offset, const char* file, int line) {
  for (const auto& [barrier, thread] : block.unfenced) {
    if (barrier == offset)
      FAIL(
          "mbarrier at shared 0x%x: expected fence_mbarrier_init after it was initialised, before TMA or another block "
          "of the cluster uses it",
          offset);
  }
}

}  // namespace emulator

using namespace emulator;

extern "C" void emu_mbar_init(unsigned barrier, unsigned count, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (barrier % 8) FAIL("mbarrier: expected an address aligned to 8 bytes, got 0x%x", barrier);
  if (count < 1 || count > MOST_ARRIVALS) FAIL("mbarrier: expected a count from 1 to 1048575, got %u", count);
  char* at = shared_pointer(block, barrier, 8, file, line);
  if (block.checked)
    shared_access(block, barrier, 8, WRITE, block, thread.warp, thread.lane, file, line, "mbarrier.init");
  const uint64_t word = uint64_t(count) | uint64_t(count) << COUNT_SHIFT | uint64_t(BYTES_OFFSET) << BYTES_SHIFT;
  memcpy(at, &word, 8);
  block.unfenced.emplace_back(barrier, &thread);
}

extern "C" void emu_mbar_arrive(unsigned barrier, unsigned count, unsigned bytes, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  const SharedAddress at = cluster_pointer(block, barrier, 8, file, line);
  load(at, barrier, file, line);
  if (at.block != &block) mbarrier_check_fence(*at.block, at.offset, file, line);
  if (block.checked) {
    shared_access(*at.block, at.offset, 8, READ, block, thread.warp, thread.lane, file, line, "mbarrier.arrive");
    release_mbarrier(*at.block, at.offset, block, thread.warp);
  }
  mbarrier_update(*at.block, at.offset, int(count), bytes, file, line);
}

extern "C" void emu_mbar_arrive_cluster(unsigned barrier, unsigned rank, const char* file, int line) {
  emu_mbar_arrive(emu_map_shared_rank(barrier, rank, file, line), 1, 0, file, line);
}

extern "C" int emu_mbar_try_wait(unsigned barrier, unsigned parity, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  const SharedAddress at{&block, barrier, shared_pointer(block, barrier, 8, file, line)};
  const uint64_t word = load(at, barrier, file, line);
  if (block.checked)
    shared_access(block, barrier, 8, READ, block, thread.warp, thread.lane, file, line, "mbarrier.try_wait");
  if (word >> PHASE_SHIFT != (parity & 1)) {
    if (block.checked) acquire_mbarrier(block, barrier, thread.warp, thread.lane);
    return 1;
  }
  thread.barrier_address = barrier, thread.barrier_parity = parity;
  block.mbarrier_waiting.push_back(&thread);
  wait(State::mbarrier, file, line);
  return 0;
}

extern "C" int emu_mbar_test_wait(unsigned barrier, unsigned parity, const char* file, int line) {
  Block& block = current().home();
  const SharedAddress at{&block, barrier, shared_pointer(block, barrier, 8, file, line)};
  if (load(at, barrier, file, line) >> PHASE_SHIFT != (parity & 1))
    return emu_mbar_try_wait(barrier, parity, file, line);
  emu_yield();  // or a loop of polls would never end
  return 0;
}

extern "C" void emu_mbar_invalidate(unsigned barrier, const char* file, int line) {
  Block& block = current().home();
  const SharedAddress at{&block, barrier, shared_pointer(block, barrier, 8, file, line)};
  load(at, barrier, file, line);
  memset(at.pointer, 0xff, 8);
}

extern "C" void emu_fence_mbarrier_init(const char*, int) { mbarrier_fence(current()); }
