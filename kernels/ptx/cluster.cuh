// Blocks of one cluster: who, waiting for each other, and each other's shared memory. From sm_90 on.
#pragma once
// clang-format off: instructions and their operands keep their lines

// PTX ISA, "Special Registers: %cluster_ctarank, %cluster_nctarank".
DEVICE_INLINE uint32_t cluster_rank() {
#if WEFT_EMULATED
  return emu_cluster_rank();
#else
  uint32_t rank;
  PTX("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}

DEVICE_INLINE uint32_t cluster_size() {
#if WEFT_EMULATED
  return emu_cluster_size();
#else
  uint32_t size;
  PTX("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
#endif
}

// PTX ISA, "barrier.cluster": every thread of the cluster arrives (releasing its writes) and waits (acquiring theirs).
DEVICE_INLINE void cluster_arrive(CALLER) {
  EMULATED(emu_cluster_arrive(0, HERE));
  PTX("barrier.cluster.arrive.release;" ::: "memory");
}

// Arrives without releasing: for a cluster that only has to know that all its blocks have started.
DEVICE_INLINE void cluster_arrive_relaxed(CALLER) {
  EMULATED(emu_cluster_arrive(1, HERE));
  PTX("barrier.cluster.arrive.relaxed;" ::: "memory");
}

DEVICE_INLINE void cluster_wait(CALLER) {
  EMULATED(emu_cluster_wait(HERE));
  PTX("barrier.cluster.wait.acquire;" ::: "memory");
}

DEVICE_INLINE void cluster_sync(CALLER) {
  cluster_arrive(EMULATED(HERE));
  cluster_wait(EMULATED(HERE));
}

// PTX ISA, "mapa": where the block `rank` of the cluster has what this block has at `addr`.
DEVICE_INLINE uint32_t map_shared_rank(uint32_t addr, uint32_t rank AND_CALLER) {
#if WEFT_EMULATED
  return emu_map_shared_rank(addr, rank, HERE);
#else
  uint32_t mapped;
  PTX("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(addr), "r"(rank));
  return mapped;
#endif
}

// PTX ISA, "ld", "st" with .shared::cluster: distributed shared memory, at addresses of map_shared_rank.
DEVICE_INLINE uint32_t ld_shared_cluster_u32(uint32_t addr AND_CALLER) {
  uint32_t x;
  EMULATED(emu_ld_shared_cluster(&x, addr, 4, HERE));
  PTX("ld.shared::cluster.u32 %0, [%1];" : "=r"(x) : "r"(addr) : "memory");
  return x;
}

DEVICE_INLINE float ld_shared_cluster_f32(uint32_t addr AND_CALLER) {
  float x;
  EMULATED(emu_ld_shared_cluster(&x, addr, 4, HERE));
  PTX("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(addr) : "memory");
  return x;
}

DEVICE_INLINE double ld_shared_cluster_f64(uint32_t addr AND_CALLER) {
  double x;
  EMULATED(emu_ld_shared_cluster(&x, addr, 8, HERE));
  PTX("ld.shared::cluster.f64 %0, [%1];" : "=d"(x) : "r"(addr) : "memory");
  return x;
}

DEVICE_INLINE void ld_shared_cluster_f32x4(float (&x)[4], uint32_t addr AND_CALLER) {
  EMULATED(emu_ld_shared_cluster(x, addr, 16, HERE));
  PTX("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
      : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3]) : "r"(addr) : "memory");
}

DEVICE_INLINE void st_shared_cluster_u32(uint32_t addr, uint32_t x AND_CALLER) {
  EMULATED(emu_st_shared_cluster(addr, &x, 4, HERE));
  PTX("st.shared::cluster.u32 [%0], %1;" :: "r"(addr), "r"(x) : "memory");
}

DEVICE_INLINE void st_shared_cluster_f32(uint32_t addr, float x AND_CALLER) {
  EMULATED(emu_st_shared_cluster(addr, &x, 4, HERE));
  PTX("st.shared::cluster.f32 [%0], %1;" :: "r"(addr), "f"(x) : "memory");
}

DEVICE_INLINE void st_shared_cluster_f64(uint32_t addr, double x AND_CALLER) {
  EMULATED(emu_st_shared_cluster(addr, &x, 8, HERE));
  PTX("st.shared::cluster.f64 [%0], %1;" :: "r"(addr), "d"(x) : "memory");
}

DEVICE_INLINE void st_shared_cluster_f32x4(uint32_t addr, const float (&x)[4] AND_CALLER) {
  EMULATED(emu_st_shared_cluster(addr, x, 16, HERE));
  PTX("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};"
      :: "r"(addr), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
}

// PTX ISA, "mbarrier.arrive" with .shared::cluster: arrives at the barrier that block `rank` has at `bar`.
DEVICE_INLINE void mbarrier_arrive_cluster(uint32_t bar, uint32_t rank AND_CALLER) {
  EMULATED(emu_mbar_arrive_cluster(bar, rank, HERE));
  PTX("{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}"
      :: "r"(bar), "r"(rank) : "memory");
}

// The same without .cluster scope, which costs a fence of the whole device: enough for stages that only TMA writes and
// only wgmma reads, whose completion was waited for.
DEVICE_INLINE void mbarrier_arrive_remote(uint32_t bar, uint32_t rank AND_CALLER) {
  EMULATED(emu_mbar_arrive_cluster(bar, rank, HERE));
  PTX("{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}"
      :: "r"(bar), "r"(rank) : "memory");
}

// PTX ISA, "mbarrier.try_wait" with .acquire.cluster: as mbarrier_wait, and what other blocks of the cluster had
// written to this one's shared memory before they arrived becomes visible.
DEVICE_INLINE void mbarrier_wait_cluster(uint32_t bar, uint32_t parity AND_CALLER) {
  EMULATED(while (!emu_mbar_try_wait(bar, parity, HERE)){});
  PTX("{\n.reg .pred p;\n"
      "WAIT:\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n"
      "@p bra DONE;\n"
      "bra WAIT;\n"
      "DONE:\n}"
      :: "r"(bar), "r"(parity) : "memory");
}
