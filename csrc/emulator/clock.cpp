// Vector clocks: what a warp knows of its own block, and of others.
#include "runtime.h"

#include <algorithm>

namespace emulator {

void Clock::reset(uint32_t of) {
  memset(own, 0, sizeof own);
  serial = of;
  others_.reset();
}

uint32_t Clock::of(uint32_t block_serial, int warp) const {
  if (block_serial == serial) return own[warp];
  if (!others_) return 0;
  const auto found = others_->find(block_serial);
  return found == others_->end() ? 0 : found->second[size_t(warp)];
}

void Clock::learn(uint32_t block_serial, const std::array<uint32_t, CLOCKS>& clocks) {
  if (others_) {
    const auto found = others_->find(block_serial);
    if (found != others_->end() &&
        std::equal(clocks.begin(), clocks.end(), found->second.begin(), [](uint32_t a, uint32_t b) { return a <= b; }))
      return;
  }
  auto copy = others_ ? std::make_shared<Others>(*others_) : std::make_shared<Others>();
  auto& known = (*copy)[block_serial];
  for (size_t i = 0; i < CLOCKS; i++) known[i] = std::max(known[i], clocks[i]);
  others_ = std::move(copy);
}

void Clock::join(const Clock& other) {
  if (!serial) serial = other.serial;
  if (other.serial == serial) {
    for (int i = 0; i < CLOCKS; i++) own[i] = std::max(own[i], other.own[i]);
  } else if (other.serial) {
    std::array<uint32_t, CLOCKS> clocks;
    std::copy(other.own, other.own + CLOCKS, clocks.begin());
    learn(other.serial, clocks);
  }
  if (!other.others_ || other.others_ == others_) return;
  if (!others_ && !other.others_->count(serial)) {
    others_ = other.others_;
    return;
  }
  for (const auto& [block_serial, clocks] : *other.others_) {
    if (block_serial == serial)
      for (size_t i = 0; i < CLOCKS; i++) own[i] = std::max(own[i], clocks[i]);
    else
      learn(block_serial, clocks);
  }
}

void release(Clock& into, Block& block, int warp) {
  Clock& mine = block.checks.warps[warp];
  into.join(mine);
  mine.own[warp]++;
}

void acquire(const Clock& from, Block& block, int warp) { block.checks.warps[warp].join(from); }

void order_lanes(Block& block, int warp, uint32_t mask) {
  const uint32_t epoch = ++block.checks.epochs[warp];
  for (int lane = 0; lane < WARP; lane++)
    if (mask >> lane & 1) block.checks.lanes[warp][lane] = epoch;
}

void release_mbarrier(Block& memory, unsigned offset, Block& by, int warp) {
  release(memory.checks.mbarriers[offset], by, warp);
  if (&memory == &by) memory.checks.mbarrier_epochs[offset][size_t(warp)] = ++by.checks.epochs[warp];
}

void acquire_mbarrier(Block& block, unsigned offset, int warp, int lane) {
  acquire(block.checks.mbarriers[offset], block, warp);
  uint32_t& known = block.checks.lanes[warp][lane];
  known = std::max(known, block.checks.mbarrier_epochs[offset][size_t(warp)]);
}

}  // namespace emulator
