// Waiting for each other within a block: named barriers, mbarrier, proxy fences.
#pragma once
// clang-format off: instructions and their operands keep their lines

// PTX ISA, "Parallel Synchronization and Communication Instructions: barrier". Barrier `id` (0 to 15) of `n` threads,
// whole warps; bar_arrive counts without waiting. Barrier 0 is that of __syncthreads.
DEVICE_INLINE void bar_sync(int id, int n AND_CALLER) {
  EMULATED(emu_barrier(id, n, 0, HERE));
  PTX("bar.sync %0, %1;" :: "r"(id), "r"(n) : "memory");
}

DEVICE_INLINE void bar_arrive(int id, int n AND_CALLER) {
  EMULATED(emu_barrier(id, n, 1, HERE));
  PTX("bar.arrive %0, %1;" :: "r"(id), "r"(n) : "memory");
}

#if WEFT_ARCH >= 900

// PTX ISA, "elect.sync": true in one thread of the warp, always the same one. The compiler then knows that one thread
// runs what follows, and keeps TMA's operands in uniform registers.
DEVICE_INLINE bool elect_one() {
#if WEFT_EMULATED
  return threadIdx.x % 32 == 0;
#else
  uint32_t elected;
  PTX("{\n.reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.b32 %0, 1, 0, p;\n}"
      : "=r"(elected));
  return elected;
#endif
}

// PTX ISA, "mbarrier.init". `bar` is the shared address of 8 bytes; a phase ends after `count` arrivals and when all
// announced bytes have come.
DEVICE_INLINE void mbarrier_init(uint32_t bar, uint32_t count AND_CALLER) {
  EMULATED(emu_mbar_init(bar, count, HERE));
  PTX("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(bar), "r"(count) : "memory");
}

// PTX ISA, "membar/fence: fence.mbarrier_init": the initialisation becomes visible to the cluster and the async proxy.
DEVICE_INLINE void fence_mbarrier_init(CALLER) {
  EMULATED(emu_fence_mbarrier_init(HERE));
  PTX("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// PTX ISA, "membar/fence: fence.proxy": what was written to shared memory by ordinary stores becomes visible to the
// async proxy: to TMA and wgmma. To be called by the threads that wrote, before the barrier.
DEVICE_INLINE void fence_proxy_async(CALLER) {
  EMULATED(emu_fence_proxy_async(HERE));
  PTX("fence.proxy.async.shared::cta;" ::: "memory");
}

// PTX ISA, "mbarrier.arrive".
DEVICE_INLINE void mbarrier_arrive(uint32_t bar AND_CALLER) {
  EMULATED(emu_mbar_arrive(bar, 1, 0, HERE));
  PTX("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(bar) : "memory");
}

// PTX ISA, "mbarrier.arrive" with .expect_tx: announces `bytes` that async copies will bring in this phase,
// and arrives.
DEVICE_INLINE void mbarrier_arrive_expect_tx(uint32_t bar, uint32_t bytes AND_CALLER) {
  EMULATED(emu_mbar_arrive(bar, 1, bytes, HERE));
  PTX("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(bar), "r"(bytes) : "memory");
}

// PTX ISA, "mbarrier.expect_tx": announces without arriving.
DEVICE_INLINE void mbarrier_expect_tx(uint32_t bar, uint32_t bytes AND_CALLER) {
  EMULATED(emu_mbar_arrive(bar, 0, bytes, HERE));
  PTX("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" :: "r"(bar), "r"(bytes) : "memory");
}

// PTX ISA, "cp.async.mbarrier.arrive" with .noinc: arrives when the cp.async that this thread has begun are complete.
DEVICE_INLINE void cp_async_mbarrier_arrive(uint32_t bar AND_CALLER) {
  EMULATED(emu_cp_mbar_arrive(bar, HERE));
  PTX("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" :: "r"(bar) : "memory");
}

// PTX ISA, "mbarrier.inval": the 8 bytes may serve another purpose.
DEVICE_INLINE void mbarrier_invalidate(uint32_t bar AND_CALLER) {
  EMULATED(emu_mbar_invalidate(bar, HERE));
  PTX("mbarrier.inval.shared::cta.b64 [%0];" :: "r"(bar) : "memory");
}

// PTX ISA, "mbarrier.test_wait/mbarrier.try_wait": whether the phase of this parity has ended; may sleep a moment.
// A new barrier is in the phase of parity 0, so that a wait for parity 1 passes.
DEVICE_INLINE bool mbarrier_try_wait(uint32_t bar, uint32_t parity AND_CALLER) {
#if WEFT_EMULATED
  return emu_mbar_try_wait(bar, parity, HERE);
#else
  uint32_t done;
  PTX("{\n.reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.b32 %0, 1, 0, p;\n}"
      : "=r"(done) : "r"(bar), "r"(parity) : "memory");
  return done;
#endif
}

// The same without sleeping.
DEVICE_INLINE bool mbarrier_test_wait(uint32_t bar, uint32_t parity AND_CALLER) {
#if WEFT_EMULATED
  return emu_mbar_test_wait(bar, parity, HERE);
#else
  uint32_t done;
  PTX("{\n.reg .pred p;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.b32 %0, 1, 0, p;\n}"
      : "=r"(done) : "r"(bar), "r"(parity) : "memory");
  return done;
#endif
}

DEVICE_INLINE void mbarrier_wait(uint32_t bar, uint32_t parity AND_CALLER) {
  EMULATED(while (!emu_mbar_try_wait(bar, parity, HERE)){});
  PTX("{\n.reg .pred p;\n"
      "WAIT:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@p bra DONE;\n"
      "bra WAIT;\n"
      "DONE:\n}"
      :: "r"(bar), "r"(parity) : "memory");
}

#endif
