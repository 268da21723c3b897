// A caching allocator for large arrays. Fresh memory from the system costs a page fault per 4 KiB, more than most ops on
// it; a training step asks for the same sizes again and again, so freed blocks are kept and handed out again.
#pragma once
#include <cstddef>

namespace weft {

constexpr size_t smallest_block = 64 * 1024;  // smaller requests belong to malloc

// A block of at least `bytes`, 64-byte aligned, contents unspecified; null where the system has none. Thread-safe.
void* take_block(size_t bytes);
void give_block(void* block, size_t bytes);  // the same `bytes` as it was taken with

struct MemoryUse {
  size_t live, cached, peak;  // bytes taken, bytes kept for reuse, most ever taken at one time
};
MemoryUse memory_use();
void release_cached();  // back to the system

}  // namespace weft
