// Device memory: each allocation ends at a page that nobody may touch, and starts out as NaN of every float type.
#include "memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unordered_map>
#include <vector>

namespace emulator {

constexpr size_t PAGE_BYTES = 4096, ALIGNMENT = 16, MOST_KEPT = size_t(512) << 20;
// Every 16 bits 0xfff5: a NaN in 16, 32 and 64 bits, and as an integer none that a program uses.
constexpr uint64_t POISON = 0xfff5fff5fff5fff5;

static std::mutex lock;
static std::map<uintptr_t, Allocation> allocations;           // by their first byte
static std::unordered_map<size_t, std::vector<char*>> spare;  // mappings of freed ones, by pages
static size_t spare_bytes = 0, used_bytes = 0;
static std::atomic<uint64_t> changes{0};  // of `allocations`

static size_t pages_of(size_t bytes) { return std::max<size_t>(1, (bytes + PAGE_BYTES - 1) / PAGE_BYTES); }

// Pages between two that fault.
static char* map_pages(size_t pages) {
  auto& kept = spare[pages];
  if (!kept.empty()) {
    char* begin = kept.back();
    kept.pop_back();
    spare_bytes -= pages * PAGE_BYTES;
    return begin;
  }
  const size_t bytes = (pages + 2) * PAGE_BYTES;
  void* mapped = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(mapped) + PAGE_BYTES;
  if (mprotect(begin, pages * PAGE_BYTES, PROT_READ | PROT_WRITE)) {
    munmap(mapped, bytes);
    return nullptr;
  }
  return begin;
}

static void unmap_pages(char* begin, size_t pages) {
  if (spare_bytes + pages * PAGE_BYTES <= MOST_KEPT) {
    spare[pages].push_back(begin);
    spare_bytes += pages * PAGE_BYTES;
    return;
  }
  munmap(begin - PAGE_BYTES, (pages + 2) * PAGE_BYTES);
}

Allocation* find_allocation(const void* p, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  const auto within = [&](const Allocation& allocation) {
    const auto begin = reinterpret_cast<uintptr_t>(allocation.begin);
    return address >= begin && address + bytes <= begin + allocation.bytes;
  };
  static thread_local Allocation* latest = nullptr;  // most accesses follow another one to the same array
  static thread_local uint64_t latest_change = 0;
  if (latest && latest_change == changes.load(std::memory_order_relaxed) && within(*latest)) return latest;
  std::lock_guard<std::mutex> guard(lock);
  const auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return nullptr;
  Allocation& allocation = std::prev(next)->second;
  if (!within(allocation)) return nullptr;
  latest_change = changes.load();
  return latest = &allocation;
}

}  // namespace emulator

using namespace emulator;

// Null where there is no memory left.
extern "C" void* emu_allocate(size_t bytes, int poison) {
  std::lock_guard<std::mutex> guard(lock);
  const size_t pages = pages_of(bytes);
  char* begin = map_pages(pages);
  if (!begin) return nullptr;
  const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  char* first = begin + pages * PAGE_BYTES - rounded;
  if (poison) {
    auto* words = reinterpret_cast<uint64_t*>(first);
    std::fill(words, words + rounded / 8, POISON);
  }
  changes++;
  Allocation& allocation = allocations[reinterpret_cast<uintptr_t>(first)];
  allocation.begin = first, allocation.bytes = bytes;
  allocation.pages = begin, allocation.page_count = pages;
  used_bytes += pages * PAGE_BYTES;
  return first;
}

extern "C" void emu_free(void* p) {
  std::lock_guard<std::mutex> guard(lock);
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(p));
  if (found == allocations.end()) return;
  char* pages = found->second.pages;
  const size_t count = found->second.page_count;
  changes++;
  allocations.erase(found);
  used_bytes -= count * PAGE_BYTES;
  unmap_pages(pages, count);
}

// Bytes in use, and kept for reuse.
extern "C" void emu_memory(size_t* used, size_t* kept) {
  std::lock_guard<std::mutex> guard(lock);
  *used = used_bytes, *kept = spare_bytes;
}
