// The mbarrier of async copies.
#pragma once

#include <cstdint>

namespace emulator {

struct Block;
struct Thread;

// `arrivals` have come; `bytes` more are announced, or, negative, have come.
void mbarrier_update(Block& block, unsigned offset, int arrivals, int64_t bytes, const char* file, int line);

// The initialisations of this thread become visible to the async proxy and to the cluster; fails if that of a barrier
// was not.
void mbarrier_fence(Thread& thread);
void mbarrier_check_fence(const Block& block, unsigned offset, const char* file, int line);

}  // namespace emulator
