// Atomics and what orders blocks among each other: acquire, release, fences, and polling that parks.
#include "runtime.h"

#include <algorithm>
#include <ctime>

namespace emulator {

enum Order { RELAXED, ACQUIRE, RELEASE, ACQUIRE_RELEASE };

static void check(const void* p, unsigned bytes, int mode, const char* file, int line, const char* what) {
  Thread& thread = current();
  Block& block = thread.home();
  if (reinterpret_cast<uintptr_t>(p) % bytes)
    FAIL("%s: expected an address aligned to %u bytes, got %p", what, bytes, p);
  if (!block.checked) return;
  if (block.holds(p)) {
    const auto offset = unsigned(static_cast<const char*>(p) - block.arena);
    shared_pointer(block, offset, bytes, file, line);
    shared_access(block, offset, bytes, mode | ATOMIC, block, thread.warp, thread.lane, file, line, what);
  } else {
    global_access(p, bytes, mode | ATOMIC, block, thread.warp, thread.lane, file, line, what);
  }
}

// What a synchronising access at `p` makes known: to later readers, and to this warp.
static void publish(const void* p, int order) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!block.checked) return;
  BlockChecks& checks = block.checks;
  if (order & RELEASE)
    release(grid.checks.published[p], block, thread.warp);
  else if (checks.any_fence[thread.warp])
    grid.checks.published[p].join(checks.fenced[thread.warp]);
}

static void notice(const void* p, int order) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!block.checked) return;
  const auto published = grid.checks.published.find(p);
  if (published == grid.checks.published.end()) return;
  if (order & ACQUIRE) return acquire(published->second, block, thread.warp);
  block.checks.noticed[thread.warp].join(published->second);
  block.checks.any_notice[thread.warp] = true;
}

void relaxed_access(const void* p, bool write) {
  if (write)
    publish(p, RELAXED);
  else
    notice(p, RELAXED);
}

template <class U, class Update>
static U exchange(U* p, Update update) {
  U old = __atomic_load_n(p, __ATOMIC_RELAXED), value;
  do value = update(old);
  while (!__atomic_compare_exchange_n(p, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
  return old;
}

template <class To, class From>
static To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

template <class U, class S>
static U apply(int operation, U old, U value, U compare) {
  switch (operation) {
    case EMU_ADD:
      return old + value;
    case EMU_CAS:
      return old == compare ? value : old;
    case EMU_EXCHANGE:
      return value;
    case EMU_MAX:
      return U(std::max(S(old), S(value)));
    case EMU_MIN:
      return U(std::min(S(old), S(value)));
    case EMU_UMAX:
      return std::max(old, value);
    case EMU_UMIN:
      return std::min(old, value);
    case EMU_AND:
      return old & value;
    case EMU_OR:
      return old | value;
    case EMU_XOR:
      return old ^ value;
    case EMU_INC:
      return old >= value ? 0 : old + 1;
    case EMU_DEC:
      return old == 0 || old > value ? value : old - 1;
    case EMU_ADD_F32:
      if constexpr (sizeof(U) == 4) return bits<U>(bits<float>(old) + bits<float>(value));
      return old;
    default:
      if constexpr (sizeof(U) == 8) return bits<U>(bits<double>(old) + bits<double>(value));
      return old;
  }
}

template <class U, class S>
static U atomic(U* p, int operation, U value, U compare, int order, const char* file, int line) {
  check(p, sizeof(U), operation == EMU_EXCHANGE ? WRITE : WRITE | UPDATE, file, line, "atomic");
  notice(p, order);
  publish(p, order);
  const U old = exchange(p, [&](U before) { return apply<U, S>(operation, before, value, compare); });
  if (apply<U, S>(operation, old, value, compare) != old) worker->change();
  return old;
}

}  // namespace emulator

using namespace emulator;

extern "C" unsigned emu_atomic_32(unsigned* p, int operation, unsigned value, unsigned compare, int order,
                                  const char* file, int line) {
  return atomic<unsigned, int>(p, operation, value, compare, order, file, line);
}

extern "C" unsigned long long emu_atomic_64(unsigned long long* p, int operation, unsigned long long value,
                                            unsigned long long compare, int order, const char* file, int line) {
  return atomic<unsigned long long, long long>(p, operation, value, compare, order, file, line);
}

extern "C" void emu_atomic_store(void* p, int bytes, unsigned long long value, int order, const char* file, int line) {
  check(p, unsigned(bytes), WRITE, file, line, "atomic store");
  publish(p, order);
  worker->change();
  if (bytes == 4)
    __atomic_store_n(static_cast<unsigned*>(p), unsigned(value), __ATOMIC_RELEASE);
  else
    __atomic_store_n(static_cast<unsigned long long*>(p), value, __ATOMIC_RELEASE);
}

// A thread that finds the same value twice at one place polls: it sleeps until the value changes, or until nobody else
// has anything to do.
extern "C" unsigned long long emu_atomic_load(const void* p, int bytes, int order, const char* file, int line) {
  Thread& thread = current();
  check(p, unsigned(bytes), READ, file, line, "atomic load");
  const auto load = [&]() -> unsigned long long {
    return bytes == 4 ? __atomic_load_n(static_cast<const unsigned*>(p), __ATOMIC_ACQUIRE)
                      : __atomic_load_n(static_cast<const unsigned long long*>(p), __ATOMIC_ACQUIRE);
  };
  unsigned long long value = load();
  if (thread.watched == p && thread.watched_value == unsigned(value)) {
    worker->polling.push_back(&thread);
    wait(State::polling, file, line);
    value = load();
  }
  thread.watched = p, thread.watched_value = unsigned(value);
  thread.file = file, thread.line = line;
  notice(p, order);
  return value;
}

extern "C" void emu_fence(int scope, const char*, int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  Thread& thread = current();
  Block& block = thread.home();
  if (!block.checked || scope == 0) return;
  BlockChecks& checks = block.checks;
  const int warp = thread.warp;
  if (checks.any_notice[warp]) {
    acquire(checks.noticed[warp], block, warp);
    checks.any_notice[warp] = false;
    checks.noticed[warp].reset();
  }
  checks.fenced[warp].reset();
  release(checks.fenced[warp], block, warp);
  checks.any_fence[warp] = true;
}

// The kernel before has ended, and what it wrote is visible.
extern "C" void emu_grid_dependency_wait(const char*, int) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!block.checked) return;
  std::array<uint32_t, CLOCKS> all;
  all.fill(~0u);
  block.checks.warps[thread.warp].learn(PREVIOUS_GRID, all);
}

extern "C" void emu_grid_dependency_launch(const char*, int) {}

extern "C" long long emu_clock() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}
