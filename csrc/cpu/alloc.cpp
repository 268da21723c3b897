#include "alloc.h"

#include <cstdint>
#include <cstdlib>
#include <mutex>

#include <pthread.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace weft {
namespace {

// The cache may hold this much beyond what the program itself once held at a time: live + cached <= peak + slack. So
// caching never raises the memory peak by more than the slack.
constexpr size_t slack = 64u << 20;

// A free block carries its own list nodes: it is on the list of its size class and on the list of all, oldest first.
struct Free {
  Free *newer, *older;                  // all
  Free *next_of_class, *prev_of_class;  // class, most recently freed first
  size_t bytes;
};

constexpr int steps = 8;  // size classes per doubling, so at most 1/8 of a block is waste
constexpr int classes = 64 * steps;

size_t class_of(size_t bytes, size_t& rounded) {
  if (bytes < smallest_block) bytes = smallest_block;
  int exponent = 63 - __builtin_clzll(bytes);
  size_t step = size_t(1) << (exponent - 3);
  rounded = (bytes + step - 1) / step * step;
  exponent = 63 - __builtin_clzll(rounded);
  return size_t(exponent) * steps + ((rounded >> (exponent - 3)) & 7);
}

struct Cache {
  std::mutex lock;
  Free* of_class[classes] = {};
  Free *newest = nullptr, *oldest = nullptr;
  size_t live = 0, cached = 0, peak = 0;

  void unlink(Free* f, size_t c) {
    (f->newer ? f->newer->older : newest) = f->older;
    (f->older ? f->older->newer : oldest) = f->newer;
    (f->prev_of_class ? f->prev_of_class->next_of_class : of_class[c]) = f->next_of_class;
    if (f->next_of_class) f->next_of_class->prev_of_class = f->prev_of_class;
    cached -= f->bytes;
  }

  void link(Free* f, size_t c) {
    f->newer = nullptr, f->older = newest;
    (newest ? newest->newer : oldest) = f;
    newest = f;
    f->prev_of_class = nullptr, f->next_of_class = of_class[c];
    if (of_class[c]) of_class[c]->prev_of_class = f;
    of_class[c] = f;
    cached += f->bytes;
  }

  void shrink(size_t limit) {
    while (oldest && live + cached > limit) {
      Free* f = oldest;
      size_t rounded;
      unlink(f, class_of(f->bytes, rounded));
      std::free(f);
    }
  }
};

// Never destroyed: arrays may be freed after the program's own destructors ran.
Cache& cache() {
  static Cache* c = [] {
    pthread_atfork([] { cache().lock.lock(); }, [] { cache().lock.unlock(); }, [] { cache().lock.unlock(); });
    return new Cache;
  }();
  return *c;
}

void* fresh(size_t bytes) {
  constexpr size_t huge = 2u << 20;
  if (bytes < 2 * huge) return std::aligned_alloc(64, bytes);
  void* block = std::aligned_alloc(huge, (bytes + huge - 1) / huge * huge);
#if defined(__linux__)
  if (block) madvise(block, bytes / huge * huge, MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

void* take_block(size_t bytes) {
  if (bytes > SIZE_MAX / 4) return nullptr;
  size_t rounded, c = class_of(bytes, rounded);
  Cache& all = cache();
  {
    std::lock_guard<std::mutex> hold(all.lock);
    Free* f = all.of_class[c];
    if (f) all.unlink(f, c);
    all.live += rounded;
    if (all.live > all.peak) all.peak = all.live;
    if (f) return f;
    all.shrink(all.peak + slack);
  }
  void* block = fresh(rounded);
  if (!block) {
    release_cached();
    block = fresh(rounded);
  }
  if (!block) {
    std::lock_guard<std::mutex> hold(all.lock);
    all.live -= rounded;
  }
  return block;
}

void give_block(void* block, size_t bytes) {
  size_t rounded, c = class_of(bytes, rounded);
  Cache& all = cache();
  std::lock_guard<std::mutex> hold(all.lock);
  Free* f = static_cast<Free*>(block);
  f->bytes = rounded;
  all.live -= rounded;
  all.link(f, c);
  all.shrink(all.peak + slack);
}

MemoryUse memory_use() {
  Cache& all = cache();
  std::lock_guard<std::mutex> hold(all.lock);
  return {all.live, all.cached, all.peak};
}

void release_cached() {
  Cache& all = cache();
  std::lock_guard<std::mutex> hold(all.lock);
  all.shrink(0);
}

}  // namespace weft
