// Where the elements of matrix instructions lie: fragments in registers, swizzled boxes and described operands in shared
// memory. All of it is constexpr arithmetic, so that tests compare it with CuTe's tables element by element.
#pragma once

namespace layouts {

struct Place {
  int row, column;
};

// ---- fragments of a warp. PTX ISA, "Matrix Fragments for mma.m16n8k8", "... m16n8k16" and "ldmatrix".

// One 8x8 matrix of 16-bit elements, as ldmatrix hands it out: half `half` (0 low) of a lane's register.
constexpr Place matrix_8x8(int lane, int half) { return {lane / 4, lane % 4 * 2 + half}; }

// a, 16 rows: register i, 16-bit elements; k16 has four registers, k8 two.
constexpr Place a_16_bits(int lane, int i, int half) {
  return {lane / 4 + 8 * (i & 1), lane % 4 * 2 + half + 8 * (i >> 1)};
}
// b, 8 columns: the row is k.
constexpr Place b_16_bits(int lane, int i, int half) { return {lane % 4 * 2 + half + 8 * i, lane / 4}; }

constexpr Place a_tf32(int lane, int i) { return {lane / 4 + 8 * (i & 1), lane % 4 + 4 * (i >> 1)}; }
constexpr Place b_tf32(int lane, int i) { return {lane % 4 + 4 * i, lane / 4}; }

// The accumulators: four per lane and 8 columns. wgmma has N / 8 such groups, and its warp w rows 16 w and on.
constexpr Place sums(int lane, int i) { return {lane / 4 + 8 * (i >> 1 & 1), lane % 4 * 2 + (i & 1) + 8 * (i >> 2)}; }

// ---- shared memory. PTX ISA, "Tensor Swizzling Modes" and "Strides" of "Asynchronous Warpgroup Level Matrix Shared
// Memory Layout".

// 16-byte chunks within 2^bits of them trade places by the number of their 128-byte line: modes 32B, 64B and 128B have
// 1, 2 and 3 bits. The address is absolute, not relative to the box or operand.
constexpr unsigned swizzle(unsigned address, int bits) {
  return address ^ ((address >> 3) & (((1u << bits) - 1) << 4));
}

// A wgmma operand, decoded from its matrix descriptor.
struct Operand {
  unsigned start, leading, stride;  // bytes: first element, "leading dimension" and "stride" byte offsets
  int swizzle_bits;
  int base_offset;
};

constexpr Operand decode(unsigned long long descriptor) {
  const int mode = int(descriptor >> 62);  // 0 none, 1 128B, 2 64B, 3 32B
  return {unsigned(descriptor & 0x3fff) << 4, unsigned(descriptor >> 16 & 0x3fff) << 4,
          unsigned(descriptor >> 32 & 0x3fff) << 4, mode ? 4 - mode : 0, int(descriptor >> 49 & 7)};
}

// The shared address of element (mn, k), of `bytes` bytes. The operand is made of core matrices: 8 rows of 16 bytes.
constexpr unsigned address_of(const Operand& operand, int mn, int k, bool mn_major, int bytes) {
  const int chunk = 16 / bytes;                  // elements of 16 bytes
  const int width = 16 << operand.swizzle_bits;  // bytes of a swizzled line
  const bool swizzled = operand.swizzle_bits != 0;
  unsigned offset = 0;
  if (!mn_major) {
    offset = mn / 8 * operand.stride + mn % 8 * width;
    offset += swizzled ? k * bytes : k / chunk * operand.leading + k % chunk * bytes;
  } else if (swizzled) {
    const int line = width / bytes;  // elements of m or n in a line
    offset = mn / line * operand.leading + mn % line * bytes + k / 8 * operand.stride + k % 8 * width;
  } else {
    offset = mn / chunk * operand.stride + mn % chunk * bytes + k / 8 * operand.leading + k % 8 * 16;
  }
  return swizzle(operand.start + offset, operand.swizzle_bits);
}

}  // namespace layouts
