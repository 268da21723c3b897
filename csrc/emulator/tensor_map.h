// The emulated device's own tensor map: what cuTensorMapEncodeTiled and ...Im2col take, in the 128 bytes that a kernel
// gets.
#pragma once

#include <cstdint>

namespace emulator {

struct TensorMapFields {
  uint64_t magic;
  char* address;
  uint8_t rank, element_bytes, swizzle, im2col;  // swizzle: 0, or 1, 2, 3 for 32, 64, 128 bytes
  uint8_t type, fill_nan;                        // type: as CUtensorMapDataType
  uint8_t steps[5];                              // element strides: of boxes, or of the pixels that im2col visits
  uint64_t strides[4];                           // in bytes, of all but the innermost dimension
  uint32_t last[5];                              // of each dimension, innermost first, the greatest index
  uint32_t box[5];                               // elements that arrive; of im2col: channels, pixels
  int16_t lower[3], upper[3];                    // im2col: corners of the box that pixels walk

  int64_t size(int dimension) const { return int64_t(last[dimension]) + 1; }
  unsigned row_bytes() const { return box[0] * element_bytes; }
  unsigned rows() const {
    unsigned count = 1;
    for (int i = 1; i < (im2col ? 2 : rank); i++) count *= box[i];
    return count;
  }
};
static_assert(sizeof(TensorMapFields) <= 128, "a tensor map has 128 bytes");
constexpr uint64_t TENSOR_MAP_MAGIC = 0x70616d2074666577;  // "weft map"

}  // namespace emulator
