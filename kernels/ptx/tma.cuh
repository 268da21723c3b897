// The tensor memory accelerator: boxes of tensors between global and shared memory. From sm_90 on.
//
// One thread calls. Loads complete on an mbarrier, to which the bytes of the whole box count, elements outside of the
// tensor included, which arrive as zero (or NaN, by the map); stores complete by groups of the calling thread, and
// elements outside are dropped. Coordinates c0, c1, ... are in elements, innermost dimension first, and may be
// negative. Shared addresses are aligned to 128 bytes, or to the swizzle's pattern. A map is a `const __grid_constant__
// TensorMap` parameter of the kernel, made by weft.backends.launch.tensor_map.
#pragma once
// clang-format off: instructions and their operands keep their lines

// PTX ISA, "prefetch, prefetchu" with .tensormap: fetches the map before its first use.
DEVICE_INLINE void prefetch_tensor_map(const TensorMap* map AND_CALLER) {
  EMULATED(emu_prefetch_tensor_map(map, HERE));
  PTX("prefetch.tensormap [%0];" :: "l"(map) : "memory");
}

// PTX ISA, "cp.async.bulk.tensor", tile mode, global to shared.
DEVICE_INLINE void tma_load_1d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0 AND_CALLER) {
  EMULATED(const int c[] = {c0}; emu_tma_load(dst, map, 1, c, bar, HERE));
  PTX("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3}], [%2];"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0) : "memory");
}

DEVICE_INLINE void tma_load_2d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1}; emu_tma_load(dst, map, 2, c, bar, HERE));
  PTX("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1) : "memory");
}

DEVICE_INLINE void tma_load_3d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; emu_tma_load(dst, map, 3, c, bar, HERE));
  PTX("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2) : "memory");
}

DEVICE_INLINE void tma_load_4d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                               int c3 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3}; emu_tma_load(dst, map, 4, c, bar, HERE));
  PTX("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}

DEVICE_INLINE void tma_load_5d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2, int c3,
                               int c4 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; emu_tma_load(dst, map, 5, c, bar, HERE));
  PTX("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4) : "memory");
}

// The same with .multicast::cluster: the box arrives in every block whose bit is in `mask`, at the same offset, and
// counts there to the mbarrier at the same offset.
DEVICE_INLINE void tma_load_multicast_1d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0,
                                         uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0}; emu_tma_load_multicast(dst, map, 1, c, nullptr, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4}], [%2], %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0) : "memory");
}

DEVICE_INLINE void tma_load_multicast_2d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1,
                                         uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1}; emu_tma_load_multicast(dst, map, 2, c, nullptr, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5}], [%2], %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1) : "memory");
}

DEVICE_INLINE void tma_load_multicast_3d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                                         uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; emu_tma_load_multicast(dst, map, 3, c, nullptr, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6}], [%2], %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1), "r"(c2) : "memory");
}

DEVICE_INLINE void tma_load_multicast_4d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                                         int c3, uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3}; emu_tma_load_multicast(dst, map, 4, c, nullptr, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6, %7}], [%2], %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}

DEVICE_INLINE void tma_load_multicast_5d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                                         int c3, int c4, uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; emu_tma_load_multicast(dst, map, 5, c, nullptr, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4) : "memory");
}

// PTX ISA, "cp.async.bulk.tensor", im2col mode: c0 is the channel, c1.. the pixel (w, h, d), the last the image; o0..
// are the offsets of the filter tap (w, h, d), added to the coordinates of every pixel of the bounding box.
DEVICE_INLINE void tma_load_im2col_3d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                                      uint16_t o0 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; const uint16_t o[] = {o0};
           emu_tma_load_im2col(dst, map, 3, c, o, bar, HERE));
  PTX("cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2], {%6};"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2), "h"(o0) : "memory");
}

DEVICE_INLINE void tma_load_im2col_4d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                                      int c3, uint16_t o0, uint16_t o1 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3}; const uint16_t o[] = {o0, o1};
           emu_tma_load_im2col(dst, map, 4, c, o, bar, HERE));
  PTX("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "h"(o0), "h"(o1) : "memory");
}

DEVICE_INLINE void tma_load_im2col_5d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1, int c2,
                                      int c3, int c4, uint16_t o0, uint16_t o1, uint16_t o2 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; const uint16_t o[] = {o0, o1, o2};
           emu_tma_load_im2col(dst, map, 5, c, o, bar, HERE));
  PTX("cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2], {%8, %9, %10};"
      :: "r"(dst), "l"(map), "r"(bar), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4), "h"(o0), "h"(o1), "h"(o2)
       : "memory");
}

DEVICE_INLINE void tma_load_im2col_multicast_3d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1,
                                                int c2, uint16_t o0, uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; const uint16_t o[] = {o0};
           emu_tma_load_multicast(dst, map, 3, c, o, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6}], [%2], {%7}, %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1), "r"(c2), "h"(o0) : "memory");
}

DEVICE_INLINE void tma_load_im2col_multicast_4d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1,
                                                int c2, int c3, uint16_t o0, uint16_t o1, uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3}; const uint16_t o[] = {o0, o1};
           emu_tma_load_multicast(dst, map, 4, c, o, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6, %7}], [%2], {%8, %9}, %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "h"(o0), "h"(o1) : "memory");
}

DEVICE_INLINE void tma_load_im2col_multicast_5d(uint32_t dst, const TensorMap* map, uint32_t bar, int c0, int c1,
                                                int c2, int c3, int c4, uint16_t o0, uint16_t o1, uint16_t o2,
                                                uint16_t mask AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; const uint16_t o[] = {o0, o1, o2};
           emu_tma_load_multicast(dst, map, 5, c, o, bar, mask, HERE));
  PTX("cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6, %7, %8}], [%2], {%9, %10, %11}, %3;"
      :: "r"(dst), "l"(map), "r"(bar), "h"(mask), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4), "h"(o0), "h"(o1),
         "h"(o2) : "memory");
}

// PTX ISA, "cp.async.bulk.tensor", tile mode, shared to global.
DEVICE_INLINE void tma_store_1d(const TensorMap* map, uint32_t src, int c0 AND_CALLER) {
  EMULATED(const int c[] = {c0}; emu_tma_store(map, 1, c, src, 0, HERE));
  PTX("cp.async.bulk.tensor.1d.global.shared::cta.bulk_group "
      "[%0, {%2}], [%1];"
      :: "l"(map), "r"(src), "r"(c0) : "memory");
}

DEVICE_INLINE void tma_store_2d(const TensorMap* map, uint32_t src, int c0, int c1 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1}; emu_tma_store(map, 2, c, src, 0, HERE));
  PTX("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group "
      "[%0, {%2, %3}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1) : "memory");
}

DEVICE_INLINE void tma_store_3d(const TensorMap* map, uint32_t src, int c0, int c1, int c2 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; emu_tma_store(map, 3, c, src, 0, HERE));
  PTX("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group "
      "[%0, {%2, %3, %4}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2) : "memory");
}

DEVICE_INLINE void tma_store_4d(const TensorMap* map, uint32_t src, int c0, int c1, int c2, int c3 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3}; emu_tma_store(map, 4, c, src, 0, HERE));
  PTX("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group "
      "[%0, {%2, %3, %4, %5}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}

DEVICE_INLINE void tma_store_5d(const TensorMap* map, uint32_t src, int c0, int c1, int c2, int c3, int c4 AND_CALLER)
                                {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; emu_tma_store(map, 5, c, src, 0, HERE));
  PTX("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group "
      "[%0, {%2, %3, %4, %5, %6}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4) : "memory");
}

// PTX ISA, "cp.reduce.async.bulk.tensor" with .add: adds the box to the tensor, element by element, atomically.
DEVICE_INLINE void tma_reduce_add_1d(const TensorMap* map, uint32_t src, int c0 AND_CALLER) {
  EMULATED(const int c[] = {c0}; emu_tma_reduce_add(map, 1, c, src, HERE));
  PTX("cp.reduce.async.bulk.tensor.1d.global.shared::cta.add.bulk_group "
      "[%0, {%2}], [%1];"
      :: "l"(map), "r"(src), "r"(c0) : "memory");
}

DEVICE_INLINE void tma_reduce_add_2d(const TensorMap* map, uint32_t src, int c0, int c1 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1}; emu_tma_reduce_add(map, 2, c, src, HERE));
  PTX("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group "
      "[%0, {%2, %3}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1) : "memory");
}

DEVICE_INLINE void tma_reduce_add_3d(const TensorMap* map, uint32_t src, int c0, int c1, int c2 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; emu_tma_reduce_add(map, 3, c, src, HERE));
  PTX("cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.bulk_group "
      "[%0, {%2, %3, %4}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2) : "memory");
}

DEVICE_INLINE void tma_reduce_add_4d(const TensorMap* map, uint32_t src, int c0, int c1, int c2, int c3 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3}; emu_tma_reduce_add(map, 4, c, src, HERE));
  PTX("cp.reduce.async.bulk.tensor.4d.global.shared::cta.add.bulk_group "
      "[%0, {%2, %3, %4, %5}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}

DEVICE_INLINE void tma_reduce_add_5d(const TensorMap* map, uint32_t src, int c0, int c1, int c2, int c3,
                                     int c4 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; emu_tma_reduce_add(map, 5, c, src, HERE));
  PTX("cp.reduce.async.bulk.tensor.5d.global.shared::cta.add.bulk_group "
      "[%0, {%2, %3, %4, %5, %6}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4) : "memory");
}

// PTX ISA, "cp.async.bulk.tensor" with .im2col_no_offs: stores to the pixels of the bounding box without offsets.
DEVICE_INLINE void tma_store_im2col_3d(const TensorMap* map, uint32_t src, int c0, int c1, int c2 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2}; emu_tma_store(map, 3, c, src, 1, HERE));
  PTX("cp.async.bulk.tensor.3d.global.shared::cta.im2col_no_offs.bulk_group "
      "[%0, {%2, %3, %4}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2) : "memory");
}

DEVICE_INLINE void tma_store_im2col_4d(const TensorMap* map, uint32_t src, int c0, int c1, int c2, int c3 AND_CALLER)
                                       {
  EMULATED(const int c[] = {c0, c1, c2, c3}; emu_tma_store(map, 4, c, src, 1, HERE));
  PTX("cp.async.bulk.tensor.4d.global.shared::cta.im2col_no_offs.bulk_group "
      "[%0, {%2, %3, %4, %5}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}

DEVICE_INLINE void tma_store_im2col_5d(const TensorMap* map, uint32_t src, int c0, int c1, int c2, int c3,
                                       int c4 AND_CALLER) {
  EMULATED(const int c[] = {c0, c1, c2, c3, c4}; emu_tma_store(map, 5, c, src, 1, HERE));
  PTX("cp.async.bulk.tensor.5d.global.shared::cta.im2col_no_offs.bulk_group "
      "[%0, {%2, %3, %4, %5, %6}], [%1];"
      :: "l"(map), "r"(src), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4) : "memory");
}

// PTX ISA, "cp.async.bulk" and "cp.reduce.async.bulk": contiguous bytes, without a map. Addresses and `bytes` are
// multiples of 16.
DEVICE_INLINE void bulk_load(uint32_t dst, const void* src, uint32_t bytes, uint32_t bar AND_CALLER) {
  EMULATED(emu_bulk_load(dst, src, bytes, bar, HERE));
  PTX("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];"
      :: "r"(dst), "l"(src), "r"(bytes), "r"(bar) : "memory");
}

DEVICE_INLINE void bulk_store(void* dst, uint32_t src, uint32_t bytes AND_CALLER) {
  EMULATED(emu_bulk_store(dst, src, bytes, 0, HERE));
  PTX("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" :: "l"(dst), "r"(src), "r"(bytes) : "memory");
}

DEVICE_INLINE void bulk_reduce_add_f32(float* dst, uint32_t src, uint32_t bytes AND_CALLER) {
  EMULATED(emu_bulk_store(dst, src, bytes, 1, HERE));
  PTX("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 "
      "[%0], [%1], %2;"
      :: "l"(dst), "r"(src), "r"(bytes) : "memory");
}

// PTX ISA, "cp.async.bulk.commit_group": the stores and reductions of this thread since the last call become a group.
DEVICE_INLINE void bulk_commit(CALLER) {
  EMULATED(emu_bulk_commit(HERE));
  PTX("cp.async.bulk.commit_group;" ::: "memory");
}

// PTX ISA, "cp.async.bulk.wait_group": returns when at most the LEFT latest groups of this thread are under way:
// complete, with their writes visible; with `read`, only that shared memory was read and may be written again.
template <int LEFT>
DEVICE_INLINE void bulk_wait(CALLER) {
  EMULATED(emu_bulk_wait(LEFT, 0, HERE));
  PTX("cp.async.bulk.wait_group %0;" :: "n"(LEFT) : "memory");
}

template <int LEFT>
DEVICE_INLINE void bulk_wait_read(CALLER) {
  EMULATED(emu_bulk_wait(LEFT, 1, HERE));
  PTX("cp.async.bulk.wait_group.read %0;" :: "n"(LEFT) : "memory");
}
