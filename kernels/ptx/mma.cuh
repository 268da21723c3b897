// mma.sync: a warp multiplies a 16xK by a Kx8 tile and adds the product to a 16x8 tile of float, d += a b.
// PTX ISA, "Warp-level Matrix Instructions: mma", "Matrix Fragments for mma.m16n8k8" and "... mma.m16n8k16".
// Fragments, with g = lane / 4 and t = lane % 4:
//   16 bits  a[i]: row g + 8 (i & 1), columns 2t and 2t + 1, plus 8 (i >> 1);  b[i]: rows 2t, 2t + 1, plus 8i; column g
//   tf32     a[i]: row g + 8 (i & 1), column t + 4 (i >> 1);                   b[i]: row t + 4i, column g
//   d[i]     row g + 8 (i >> 1), column 2t + (i & 1)
// tf32 operands are floats whose low 13 bits the instruction ignores.
#pragma once
// clang-format off: instructions and their operands keep their lines

template <class T>
inline constexpr bool mma_16_bits = is_same<T, f16> || (WEFT_ARCH >= 800 && is_same<T, bf16>);

template <class T>
DEVICE_INLINE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] AND_CALLER) {
  static_assert(WEFT_ARCH >= 800 && mma_16_bits<T>, "mma_m16n8k16: expected f16 or bf16, from sm_80 on");
  EMULATED(emu_mma(is_same<T, f16>, 16, d, a, b, HERE));
  if constexpr (is_same<T, f16>) {
    PTX("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    PTX("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// 16-bit operands, half as deep: all that Turing has, for f16.
template <class T>
DEVICE_INLINE void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b AND_CALLER) {
  static_assert(mma_16_bits<T>, "mma_m16n8k8: expected f16, or bf16 from sm_80 on, with two registers of a");
  EMULATED(emu_mma(is_same<T, f16>, 8, d, a, &b, HERE));
  if constexpr (is_same<T, f16>) {
    PTX("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
  } else {
    PTX("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
  }
}

template <class T>
DEVICE_INLINE void mma_m16n8k8(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] AND_CALLER) {
  static_assert(WEFT_ARCH >= 800 && is_same<T, tf32>, "mma_m16n8k8: expected tf32, from sm_80 on, for such operands");
  EMULATED(emu_mma(2, 8, d, a, b, HERE));
  PTX("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
