// Encoding of tensor maps: the arguments of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col, whose rules
// backends/tensor_maps.py has checked; what the emulated device does not do is refused here.
#include "tensor_map.h"

#include <cstdio>
#include <cstring>

using namespace emulator;

static const uint8_t ELEMENT_BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};  // of CUtensorMapDataType

static TensorMapFields common(int type, unsigned rank, void* address, const uint64_t* shape, const uint64_t* strides,
                              int swizzle, int fill_nan) {
  TensorMapFields map{};
  map.magic = TENSOR_MAP_MAGIC;
  map.address = static_cast<char*>(address);
  map.rank = uint8_t(rank), map.element_bytes = ELEMENT_BYTES[type], map.type = uint8_t(type);
  map.swizzle = uint8_t(swizzle), map.fill_nan = fill_nan != 0;
  for (unsigned i = 0; i < rank; i++) map.last[i] = uint32_t(shape[i] - 1);
  for (unsigned i = 0; i + 1 < rank; i++) map.strides[i] = strides[i];
  return map;
}

static int write(void* out, const TensorMapFields& map, unsigned rank, const uint32_t* steps, int interleave,
                 char* message, size_t room) {
  for (unsigned i = 0; i < rank; i++) {
    if (steps[i] == 1 || (map.im2col && i >= 1 && i + 1 < rank)) continue;
    snprintf(message, room, "expected element strides of 1 on the emulated device, got %u", steps[i]);
    return 1;
  }
  if (interleave) {
    snprintf(message, room, "expected no interleaving on the emulated device, got mode %d", interleave);
    return 1;
  }
  memset(out, 0, 128);
  memcpy(out, &map, sizeof map);
  return 0;
}

// Both return 0, or 1 with the reason in `message`.
extern "C" int emu_encode_tiled(void* out, int type, unsigned rank, void* address, const uint64_t* shape,
                                const uint64_t* strides, const uint32_t* box, const uint32_t* steps, int interleave,
                                int swizzle, int, int fill_nan, char* message, size_t room) {
  TensorMapFields map = common(type, rank, address, shape, strides, swizzle, fill_nan);
  for (unsigned i = 0; i < rank; i++) map.box[i] = box[i];
  return write(out, map, rank, steps, interleave, message, room);
}

extern "C" int emu_encode_im2col(void* out, int type, unsigned rank, void* address, const uint64_t* shape,
                                 const uint64_t* strides, const int* lower, const int* upper, unsigned channels,
                                 unsigned pixels, const uint32_t* steps, int interleave, int swizzle, int, int fill_nan,
                                 char* message, size_t room) {
  TensorMapFields map = common(type, rank, address, shape, strides, swizzle, fill_nan);
  map.im2col = 1;
  map.box[0] = channels, map.box[1] = pixels;
  for (unsigned i = 0; i + 2 < rank; i++) map.lower[i] = int16_t(lower[i]), map.upper[i] = int16_t(upper[i]);
  for (unsigned i = 1; i + 1 < rank; i++) map.steps[i - 1] = uint8_t(steps[i]);
  return write(out, map, rank, steps, interleave, message, room);
}
