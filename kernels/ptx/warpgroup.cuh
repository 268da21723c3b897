// What sm_90a alone has: products of a warpgroup, four warps of which the first has a number divisible by 4, and
// registers that move between warpgroups.
#pragma once
// clang-format off: instructions and their operands keep their lines

// PTX ISA, "setmaxnreg": this warpgroup gives registers up (dec) or waits for some (inc), to R per thread, 24 to 256.
template <int R>
DEVICE_INLINE void setmaxnreg_inc() {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg_inc: expected a multiple of 8 from 24 to 256");
  PTX("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(R));
}

template <int R>
DEVICE_INLINE void setmaxnreg_dec() {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg_dec: expected a multiple of 8 from 24 to 256");
  PTX("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(R));
}

// PTX ISA, "wgmma.fence": orders the registers of a and d, written before, with the products that follow.
DEVICE_INLINE void wgmma_fence(CALLER) {
  EMULATED(emu_wgmma_fence(HERE));
  PTX("wgmma.fence.sync.aligned;" ::: "memory");
}

// PTX ISA, "wgmma.commit_group": the products since the last call become one group.
DEVICE_INLINE void wgmma_commit(CALLER) {
  EMULATED(emu_wgmma_commit(HERE));
  PTX("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// PTX ISA, "wgmma.wait_group": returns when at most the LEFT latest groups are under way.
template <int LEFT>
DEVICE_INLINE void wgmma_wait(CALLER) {
  EMULATED(emu_wgmma_wait(LEFT, HERE));
  PTX("wgmma.wait_group.sync.aligned %0;" :: "n"(LEFT) : "memory");
}

// Keeps the compiler from moving accesses of an accumulator across a wait.
template <int COUNT>
DEVICE_INLINE void wgmma_hold(float (&d)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) PTX("" : "+f"(d[i])::"memory");
}

// PTX ISA, "Matrix Descriptor": where a wgmma operand lies in shared memory. `addr` is that of its first element,
// `swizzle` in bytes (0, 32, 64, 128); `lbo` and `sbo` are byte distances between blocks of 8 rows and 16 bytes:
//   K-major, swizzled     sbo between groups of 8 rows of m or n; lbo is ignored
//   K-major, not          lbo between 16-byte columns, sbo between groups of 8 rows
//   MN-major, swizzled    lbo between swizzle-wide columns of m or n, sbo between groups of 8 k
//   MN-major, not         sbo between 8 of m or n, lbo between groups of 8 k
DEVICE_INLINE uint64_t smem_descriptor(uint32_t addr, uint32_t lbo, uint32_t sbo, int swizzle) {
  const uint64_t layout = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
  return uint64_t((addr & 0x3ffff) >> 4) | uint64_t((lbo & 0x3ffff) >> 4) << 16 | uint64_t((sbo & 0x3ffff) >> 4) << 32 |
         layout << 62;
}

#include "wgmma.cuh"
