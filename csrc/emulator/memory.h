// Device memory of the emulated device: arrays that end at a page which nobody may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "shadow.h"

namespace emulator {

struct Allocation {
  char* begin = nullptr;
  size_t bytes = 0;
  char* pages = nullptr;  // the first of `page_count`
  size_t page_count = 0;
  std::unique_ptr<Shadow> shadow;
};

// The allocation that holds [p, p + bytes), or null. Not to be kept over a launch.
Allocation* find_allocation(const void* p, size_t bytes);

}  // namespace emulator
