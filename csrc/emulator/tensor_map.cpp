// Encoding of tensor maps: the arguments and rules of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col. The driver
// says "invalid value" whichever rule is broken; here the reason is told.
#include "tensor_map.h"

#include <cstdio>
#include <cstring>

using namespace emulator;

namespace {

const uint8_t ELEMENT_BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};  // of CUtensorMapDataType
constexpr int FIRST_FLOAT = 6;

struct Rules {
  char* message;
  size_t room;
  bool broken = false;

  template <class... A>
  void expect(bool holds, const char* format, A... arguments) {
    if (holds || broken) return;
    broken = true;
    snprintf(message, room, format, arguments...);
  }
};

using Unsigned = unsigned long long;  // as printf takes it

// What both kinds of map have. The arrays are innermost dimension first; `strides` leave the innermost out.
TensorMapFields common(Rules& rules, int type, unsigned rank, void* address, const uint64_t* shape,
                       const uint64_t* strides, const uint32_t* steps, int interleave, int swizzle, int fill_nan) {
  TensorMapFields map{};
  rules.expect(type >= 0 && type < int(sizeof ELEMENT_BYTES), "expected a known data type, got %d", type);
  rules.expect(rank >= 1 && rank <= 5, "expected 1 to 5 dimensions, got %u", rank);
  rules.expect(!interleave, "expected no interleaving, which the emulated device has not, got mode %d", interleave);
  rules.expect(swizzle >= 0 && swizzle <= 3, "expected swizzle mode 0 to 3, got %d", swizzle);
  rules.expect(!fill_nan || type >= FIRST_FLOAT, "expected a floating-point type to fill with NaN, got type %d", type);
  if (rules.broken) return map;
  const auto at = reinterpret_cast<uintptr_t>(address);
  rules.expect(at % 16 == 0, "expected memory aligned to 16 bytes, got %p", address);
  for (unsigned i = 0; i < rank; i++) {
    rules.expect(shape[i] >= 1 && shape[i] <= 1ull << 32, "expected sizes of 1 to 2^32, got %llu in dimension %u",
                 Unsigned(shape[i]), i);
    rules.expect(steps[i] >= 1 && steps[i] <= 8, "expected element strides of 1 to 8, got %u", steps[i]);
  }
  for (unsigned i = 0; i + 1 < rank; i++) {
    rules.expect(strides[i] % 16 == 0 && strides[i] < 1ull << 40,
                 "expected strides of whole 16 bytes, below 2^40, got %llu", Unsigned(strides[i]));
  }
  if (rules.broken) return map;
  map.magic = TENSOR_MAP_MAGIC;
  map.address = static_cast<char*>(address);
  map.rank = uint8_t(rank), map.element_bytes = ELEMENT_BYTES[type], map.type = uint8_t(type);
  map.swizzle = uint8_t(swizzle), map.fill_nan = fill_nan != 0;
  for (unsigned i = 0; i < rank; i++) {
    map.last[i] = uint32_t(shape[i] - 1);
    map.steps[i] = i ? uint8_t(steps[i]) : 1;  // the innermost is ignored
  }
  for (unsigned i = 0; i + 1 < rank; i++) map.strides[i] = strides[i];
  return map;
}

int write(Rules& rules, void* out, const TensorMapFields& map) {
  const unsigned row = map.row_bytes(), span = map.swizzle ? 16u << map.swizzle : 0;
  rules.expect(row % 16 == 0, "expected inner rows of a box to be whole 16 bytes, got %u", row);
  // Shorter rows are allowed, but how they lie in shared memory is nowhere said.
  rules.expect(!span || row == span, "expected inner rows as long as the swizzle's %u bytes, got %u", span, row);
  if (rules.broken) return 1;
  memset(out, 0, 128);
  memcpy(out, &map, sizeof map);
  return 0;
}

}  // namespace

// Both return 0, or 1 with the rule that is broken in `message`.
extern "C" int emu_encode_tiled(void* out, int type, unsigned rank, void* address, const uint64_t* shape,
                                const uint64_t* strides, const uint32_t* box, const uint32_t* steps, int interleave,
                                int swizzle, int, int fill_nan, char* message, size_t room) {
  Rules rules{message, room};
  TensorMapFields map = common(rules, type, rank, address, shape, strides, steps, interleave, swizzle, fill_nan);
  if (rules.broken) return 1;
  for (unsigned i = 0; i < rank; i++) {
    rules.expect(box[i] >= 1 && box[i] <= 256, "expected a box of 1 to 256 in each dimension, got %u", box[i]);
    map.box[i] = (box[i] + map.steps[i] - 1) / map.steps[i];
  }
  return write(rules, out, map);
}

// lower, upper: corners of the box that pixels walk, in width, height and depth, relative to the first pixel of the image
// and to its last.
extern "C" int emu_encode_im2col(void* out, int type, unsigned rank, void* address, const uint64_t* shape,
                                 const uint64_t* strides, const int* lower, const int* upper, unsigned channels,
                                 unsigned pixels, const uint32_t* steps, int interleave, int swizzle, int, int fill_nan,
                                 char* message, size_t room) {
  Rules rules{message, room};
  TensorMapFields map = common(rules, type, rank, address, shape, strides, steps, interleave, swizzle, fill_nan);
  rules.expect(rank >= 3, "expected 3 to 5 dimensions of images, got %u", rank);
  rules.expect(channels >= 1 && channels <= 256, "expected 1 to 256 channels, got %u", channels);
  rules.expect(pixels >= 1 && pixels <= 1024, "expected 1 to 1024 pixels, got %u", pixels);
  if (rules.broken) return 1;
  const int most = rank == 3 ? 32767 : rank == 4 ? 127 : 15;
  for (unsigned i = 0; i + 2 < rank; i++) {
    const int corners[] = {lower[i], upper[i]};
    for (const int corner : corners) {
      rules.expect(corner >= -most - 1 && corner <= most, "expected corners from %d to %d for %u dimensions, got %d",
                   -most - 1, most, rank, corner);
    }
    rules.expect(int64_t(shape[i + 1]) + upper[i] - lower[i] > 0,
                 "expected a box with pixels in it, got corners %d, %d", lower[i], upper[i]);
    map.lower[i] = int16_t(lower[i]), map.upper[i] = int16_t(upper[i]);
  }
  map.im2col = 1;
  map.box[0] = channels, map.box[1] = pixels;
  return write(rules, out, map);
}
