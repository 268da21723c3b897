// Between memories and registers: shared addresses, cp.async, ldmatrix, stmatrix.
#pragma once
// clang-format off: instructions and their operands keep their lines

// The address of `p` in the window of shared memory, as the instructions below take it.
DEVICE_INLINE uint32_t smem_u32(const void* p AND_CALLER) {
#if WEFT_EMULATED
  return emu_smem_u32(p, HERE);
#else
  return uint32_t(__cvta_generic_to_shared(p));
#endif
}

// PTX ISA, "Data Movement and Conversion Instructions: cp.async". Copies 4, 8 or 16 bytes from global to shared memory,
// both aligned to their size; where `pred` is false nothing is read and zeros are written.
#if WEFT_ARCH >= 800

DEVICE_INLINE void cp_async_4(uint32_t dst, const void* src, bool pred = true AND_CALLER) {
  EMULATED(emu_cp_async(dst, src, 4, pred ? 4 : 0, HERE));
  PTX("cp.async.ca.shared.global [%0], [%1], 4, %2;" :: "r"(dst), "l"(src), "r"(pred ? 4 : 0) : "memory");
}

DEVICE_INLINE void cp_async_8(uint32_t dst, const void* src, bool pred = true AND_CALLER) {
  EMULATED(emu_cp_async(dst, src, 8, pred ? 8 : 0, HERE));
  PTX("cp.async.ca.shared.global [%0], [%1], 8, %2;" :: "r"(dst), "l"(src), "r"(pred ? 8 : 0) : "memory");
}

DEVICE_INLINE void cp_async_16(uint32_t dst, const void* src, bool pred = true AND_CALLER) {
  EMULATED(emu_cp_async(dst, src, 16, pred ? 16 : 0, HERE));
  PTX("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(dst), "l"(src), "r"(pred ? 16 : 0) : "memory");
}

// PTX ISA, "cp.async.commit_group": the copies of this thread since the last call become one group.
DEVICE_INLINE void cp_async_commit(CALLER) {
  EMULATED(emu_cp_commit(HERE));
  PTX("cp.async.commit_group;" ::: "memory");
}

// PTX ISA, "cp.async.wait_group": returns when at most the LEFT latest groups of this thread are under way.
template <int LEFT>
DEVICE_INLINE void cp_async_wait(CALLER) {
  EMULATED(emu_cp_wait(LEFT, HERE));
  PTX("cp.async.wait_group %0;" :: "n"(LEFT) : "memory");
}

#endif

// PTX ISA, "Warp-level matrix load instruction: ldmatrix". Loads 8x8 matrices of 16-bit elements. Lane i gives the
// address of row i % 8 of matrix i / 8 (16 bytes, aligned); register m of a lane holds row lane / 4, columns
// lane % 4 * 2 and the next, of matrix m; with `trans`, of its transpose.
DEVICE_INLINE void ldmatrix_x1(uint32_t (&r)[1], uint32_t addr AND_CALLER) {
  EMULATED(emu_ldmatrix(r, 1, 0, addr, HERE));
  PTX("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(addr) : "memory");
}

DEVICE_INLINE void ldmatrix_x2(uint32_t (&r)[2], uint32_t addr AND_CALLER) {
  EMULATED(emu_ldmatrix(r, 2, 0, addr, HERE));
  PTX("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(addr) : "memory");
}

DEVICE_INLINE void ldmatrix_x4(uint32_t (&r)[4], uint32_t addr AND_CALLER) {
  EMULATED(emu_ldmatrix(r, 4, 0, addr, HERE));
  PTX("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(addr) : "memory");
}

DEVICE_INLINE void ldmatrix_x1_trans(uint32_t (&r)[1], uint32_t addr AND_CALLER) {
  EMULATED(emu_ldmatrix(r, 1, 1, addr, HERE));
  PTX("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(addr) : "memory");
}

DEVICE_INLINE void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t addr AND_CALLER) {
  EMULATED(emu_ldmatrix(r, 2, 1, addr, HERE));
  PTX("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
      : "=r"(r[0]), "=r"(r[1]) : "r"(addr) : "memory");
}

DEVICE_INLINE void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t addr AND_CALLER) {
  EMULATED(emu_ldmatrix(r, 4, 1, addr, HERE));
  PTX("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(addr) : "memory");
}

// PTX ISA, "Warp-level matrix store instruction: stmatrix": the inverse of ldmatrix.
#if WEFT_ARCH >= 900

DEVICE_INLINE void stmatrix_x1(uint32_t addr, const uint32_t (&r)[1] AND_CALLER) {
  EMULATED(emu_stmatrix(r, 1, 0, addr, HERE));
  PTX("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" :: "r"(addr), "r"(r[0]) : "memory");
}

DEVICE_INLINE void stmatrix_x2(uint32_t addr, const uint32_t (&r)[2] AND_CALLER) {
  EMULATED(emu_stmatrix(r, 2, 0, addr, HERE));
  PTX("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" :: "r"(addr), "r"(r[0]), "r"(r[1]) : "memory");
}

DEVICE_INLINE void stmatrix_x4(uint32_t addr, const uint32_t (&r)[4] AND_CALLER) {
  EMULATED(emu_stmatrix(r, 4, 0, addr, HERE));
  PTX("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
      :: "r"(addr), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

DEVICE_INLINE void stmatrix_x1_trans(uint32_t addr, const uint32_t (&r)[1] AND_CALLER) {
  EMULATED(emu_stmatrix(r, 1, 1, addr, HERE));
  PTX("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" :: "r"(addr), "r"(r[0]) : "memory");
}

DEVICE_INLINE void stmatrix_x2_trans(uint32_t addr, const uint32_t (&r)[2] AND_CALLER) {
  EMULATED(emu_stmatrix(r, 2, 1, addr, HERE));
  PTX("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" :: "r"(addr), "r"(r[0]), "r"(r[1]) : "memory");
}

DEVICE_INLINE void stmatrix_x4_trans(uint32_t addr, const uint32_t (&r)[4] AND_CALLER) {
  EMULATED(emu_stmatrix(r, 4, 1, addr, HERE));
  PTX("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
      :: "r"(addr), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

#endif
