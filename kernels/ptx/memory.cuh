// Ordered access to global memory between blocks, and single instructions of arithmetic.
#pragma once
// clang-format off: instructions and their operands keep their lines

// PTX ISA, "Memory Consistency Model" and "ld", "st", "atom" with .acquire, .release and .gpu: a value stored with
// release, read with acquire, makes all that the storing thread had seen visible to the reading one.
DEVICE_INLINE uint32_t ld_acquire_gpu(const uint32_t* p AND_CALLER) {
#if WEFT_EMULATED
  return uint32_t(emu_atomic_load(p, 4, 1, HERE));
#else
  uint32_t x;
  PTX("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
  return x;
#endif
}

DEVICE_INLINE void st_release_gpu(uint32_t* p, uint32_t x AND_CALLER) {
  EMULATED(emu_atomic_store(p, 4, x, 2, HERE));
  PTX("st.release.gpu.global.u32 [%0], %1;" :: "l"(p), "r"(x) : "memory");
}

// The value before the addition.
DEVICE_INLINE uint32_t atomic_add_acq_rel_gpu(uint32_t* p, uint32_t x AND_CALLER) {
#if WEFT_EMULATED
  return emu_atomic_32(p, EMU_ADD, x, 0, 3, HERE);
#else
  uint32_t old;
  PTX("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(x) : "memory");
  return old;
#endif
}

DEVICE_INLINE uint32_t atomic_add_release_gpu(uint32_t* p, uint32_t x AND_CALLER) {
#if WEFT_EMULATED
  return emu_atomic_32(p, EMU_ADD, x, 0, 2, HERE);
#else
  uint32_t old;
  PTX("atom.add.release.gpu.global.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(x) : "memory");
  return old;
#endif
}

DEVICE_INLINE int ld_acquire_gpu(const int* p AND_CALLER) {
  return int(ld_acquire_gpu(reinterpret_cast<const uint32_t*>(p) EMULATED(, HERE)));
}
DEVICE_INLINE void st_release_gpu(int* p, int x AND_CALLER) {
  st_release_gpu(reinterpret_cast<uint32_t*>(p), uint32_t(x) EMULATED(, HERE));
}
DEVICE_INLINE int atomic_add_acq_rel_gpu(int* p, int x AND_CALLER) {
  return int(atomic_add_acq_rel_gpu(reinterpret_cast<uint32_t*>(p), uint32_t(x) EMULATED(, HERE)));
}
DEVICE_INLINE int atomic_add_release_gpu(int* p, int x AND_CALLER) {
  return int(atomic_add_release_gpu(reinterpret_cast<uint32_t*>(p), uint32_t(x) EMULATED(, HERE)));
}

// PTX ISA, "Data Movement and Conversion Instructions: isspacep": a pointer, not null, that was read from a table. The
// compiler cannot know that it is into global memory, and would access it with ld and st in place of ld.global.
template <class T>
DEVICE_INLINE T* in_global(T* p) {
#if !WEFT_EMULATED
  __builtin_assume(__isGlobal(p));
#endif
  return p;
}

// PTX ISA, "Miscellaneous Instructions: nanosleep": lets others run while a thread polls.
DEVICE_INLINE void nanosleep(uint32_t nanoseconds) {
  EMULATED((void)nanoseconds, emu_yield());
  PTX("nanosleep.u32 %0;" :: "r"(nanoseconds));
}

// PTX ISA, "Floating Point Instructions: ex2": 2^x to 2 ulp, denormals to zero.
DEVICE_INLINE float exp2_approx(float x) {
#if WEFT_EMULATED
  const float y = __builtin_exp2f(x);
  return y < 1.17549435e-38f ? 0.0f : y;
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

// PTX ISA, "griddepcontrol": programmatic dependent launch. wait returns when the grids that this one depends on have
// ended and their writes are visible; launch lets the grids that depend on this one start.
#if WEFT_ARCH >= 900

DEVICE_INLINE void grid_dependency_wait(CALLER) {
  EMULATED(emu_grid_dependency_wait(HERE));
  PTX("griddepcontrol.wait;" ::: "memory");
}

DEVICE_INLINE void grid_dependency_launch(CALLER) {
  EMULATED(emu_grid_dependency_launch(HERE));
  PTX("griddepcontrol.launch_dependents;" ::: "memory");
}

#endif
