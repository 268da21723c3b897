// Warp collectives: each lane parks with a pointer to its own operands; the last to arrive works for all.
#include "runtime.h"

#include <algorithm>

namespace emulator {

static unsigned live_mask(const Block& block, int warp) {
  const int lanes = std::min(WARP, block.thread_count - warp * WARP);
  return lanes == WARP ? FULL_WARP : (1u << lanes) - 1;
}

}  // namespace emulator

using namespace emulator;

extern "C" void emu_warp(unsigned mask, int kind, void* argument, EmuWarpFunction run, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  const int warp = thread.warp, lane = thread.lane;
  const unsigned all = live_mask(block, warp);
  mask &= all;
  if (!(mask >> lane & 1)) FAIL("warp collective: lane %d is not in its own mask 0x%08x", lane, mask);
  auto& operations = block.warp_operations[warp];
  WarpOperation& operation = operations[size_t(__builtin_ctz(mask))];
  if (!operation.arrived) {
    operation.mask = mask, operation.kind = kind, operation.run = run, operation.file = file, operation.line = line;
  } else if (operation.mask != mask || operation.kind != kind || operation.line != line ||
             (operation.file != file && strcmp(operation.file, file))) {
    FAIL("divergent warp collective: lane %d is here with mask 0x%08x, but lanes 0x%08x wait at %s:%d with mask 0x%08x",
         lane, mask, operation.arrived, base_name(operation.file), operation.line, operation.mask);
  }
  operation.arrived |= 1u << lane;
  operation.arguments[lane] = argument;
  if (operation.arrived != mask) return wait(State::warp, file, line);
  if (run) run(operation.arguments, mask);
  if (block.checked && kind == 1) order_lanes(block, warp, mask);
  operation.arrived = 0;
  Thread* lanes = &block.threads[size_t(warp * WARP)];
  const bool backwards = schedule() == Schedule::lifo || schedule() == Schedule::reverse;
  for (int i = 0; i < WARP; i++) {
    const int other = backwards ? WARP - 1 - i : i;
    if ((mask >> other & 1) && other != lane) wake(lanes + other);
  }
}

// ---- shuffles and votes

namespace {

struct Shuffle {
  void* value;
  int size, mode, operand, width;
  const char* file;
  int line;
};

int shuffle_source(const Shuffle& shuffle, int lane) {
  const int first = lane & ~(shuffle.width - 1), end = first + shuffle.width;
  switch (shuffle.mode) {
    case 0:
      return first + (shuffle.operand & (shuffle.width - 1));
    case 1:
      return lane - shuffle.operand < first ? lane : lane - shuffle.operand;
    case 2:
      return lane + shuffle.operand >= end ? lane : lane + shuffle.operand;
    default:
      return (lane ^ shuffle.operand) >= end ? lane : lane ^ shuffle.operand;
  }
}

// Most are of four bytes, for which a call of memcpy costs more than the copy.
inline void copy_value(void* to, const void* from, int size) {
  if (size == 4)
    memcpy(to, from, 4);
  else
    memcpy(to, from, size_t(size));
}

void run_shuffle(void** arguments, unsigned mask) {
  alignas(16) char values[WARP][16];
  for (int lane = 0; lane < WARP; lane++) {
    if (!(mask >> lane & 1)) continue;
    const auto& shuffle = *static_cast<Shuffle*>(arguments[lane]);
    copy_value(values[lane], shuffle.value, shuffle.size);
  }
  for (int lane = 0; lane < WARP; lane++) {
    if (!(mask >> lane & 1)) continue;
    const auto& shuffle = *static_cast<Shuffle*>(arguments[lane]);
    const int source = shuffle_source(shuffle, lane);
    if (!(mask >> source & 1))
      fail(shuffle.file, shuffle.line, "shuffle: lane %d reads lane %d, which is not in mask 0x%08x", lane, source,
           mask);
    copy_value(shuffle.value, values[source], shuffle.size);
  }
}

struct Vote {
  unsigned long long value;
  int operation;
  unsigned out;
};

void run_ballot(void** arguments, unsigned mask) {
  unsigned votes = 0;
  for (int lane = 0; lane < WARP; lane++)
    if ((mask >> lane & 1) && static_cast<Vote*>(arguments[lane])->value) votes |= 1u << lane;
  for (int lane = 0; lane < WARP; lane++)
    if (mask >> lane & 1) static_cast<Vote*>(arguments[lane])->out = votes;
}

void run_match(void** arguments, unsigned mask) {
  for (int lane = 0; lane < WARP; lane++) {
    if (!(mask >> lane & 1)) continue;
    Vote& vote = *static_cast<Vote*>(arguments[lane]);
    vote.out = 0;
    for (int other = 0; other < WARP; other++)
      if ((mask >> other & 1) && static_cast<Vote*>(arguments[other])->value == vote.value) vote.out |= 1u << other;
  }
}

unsigned combine(int operation, unsigned x, unsigned y) {
  switch (operation) {
    case EMU_ADD:
      return x + y;
    case EMU_MAX:
      return unsigned(std::max(int(x), int(y)));
    case EMU_MIN:
      return unsigned(std::min(int(x), int(y)));
    case EMU_UMAX:
      return std::max(x, y);
    case EMU_UMIN:
      return std::min(x, y);
    case EMU_AND:
      return x & y;
    case EMU_OR:
      return x | y;
    default:
      return x ^ y;
  }
}

void run_reduce(void** arguments, unsigned mask) {
  bool first = true;
  unsigned result = 0;
  for (int lane = 0; lane < WARP; lane++) {
    if (!(mask >> lane & 1)) continue;
    const Vote& vote = *static_cast<Vote*>(arguments[lane]);
    result = first ? unsigned(vote.value) : combine(vote.operation, result, unsigned(vote.value));
    first = false;
  }
  for (int lane = 0; lane < WARP; lane++)
    if (mask >> lane & 1) static_cast<Vote*>(arguments[lane])->out = result;
}

}  // namespace

// The kinds only tell collectives on one line apart.
extern "C" void emu_shuffle(unsigned mask, void* value, int size, int mode, int operand, int width, const char* file,
                            int line) {
  if (size > 16) FAIL("shuffle: expected a value of at most 16 bytes, got %d", size);
  if (width < 1 || width > WARP || (width & (width - 1)))
    FAIL("shuffle: expected a power of two as width, got %d", width);
  Shuffle shuffle{value, size, mode, operand, width, file, line};
  emu_warp(mask, 2 + mode, &shuffle, run_shuffle, file, line);
}

extern "C" unsigned emu_ballot(unsigned mask, int predicate, int mode, const char* file, int line) {
  Vote vote{predicate != 0, 0, 0};
  emu_warp(mask, 8, &vote, run_ballot, file, line);
  if (mode == 0) return vote.out;
  const Thread& thread = current();
  return mode == 1 ? vote.out != 0 : vote.out == (mask & live_mask(thread.home(), thread.warp));
}

extern "C" unsigned emu_match_any(unsigned mask, unsigned long long value, const char* file, int line) {
  Vote vote{value, 0, 0};
  emu_warp(mask, 9, &vote, run_match, file, line);
  return vote.out;
}

extern "C" unsigned emu_warp_reduce(unsigned mask, unsigned value, int operation, const char* file, int line) {
  Vote vote{value, operation, 0};
  emu_warp(mask, 10, &vote, run_reduce, file, line);
  return vote.out;
}

extern "C" unsigned emu_active_mask() {
  const Thread& thread = current();
  const Block& block = thread.home();
  unsigned mask = 0;
  const bool backwards = schedule() == Schedule::reverse;
  for (int lane = 0; lane < WARP && thread.warp * WARP + lane < block.thread_count; lane++) {
    const int i = thread.warp * WARP + lane, place = backwards ? block.thread_count - 1 - i : i;
    if (place >= block.begun || block.threads[size_t(i)].state != State::exited) mask |= 1u << lane;
  }
  return mask;
}
