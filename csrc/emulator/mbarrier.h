// The mbarrier of async copies.
#pragma once

#include <cstdint>

namespace emulator {

struct Block;

// `arrivals` have come; `bytes` more are announced, or, negative, have come.
void mbarrier_update(Block& block, unsigned offset, int arrivals, int64_t bytes, const char* file, int line);

}  // namespace emulator
