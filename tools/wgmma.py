#!/usr/bin/env python3
"""Writes kernels/ptx/wgmma.cuh: the wrappers of wgmma.mma_async, whose operand lists are too long for a hand.

python tools/wgmma.py            # write the file
python tools/wgmma.py --check    # exit with 1 where the file differs from what would be written
"""

import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "kernels" / "ptx" / "wgmma.cuh"
SIZES = range(8, 257, 8)
HEAD = """\
// Written by tools/wgmma.py; change that.
//
// wgmma<n, T>(d, a, b, scale_d): a warpgroup multiplies a 64xK tile a by a Kxn tile b and adds to d, or, where scale_d
// is 0, overwrites it. K is 16 for f16 and bf16, 8 for tf32. b is a descriptor of shared memory; a is one too, or four
// registers per thread, the fragment of mma_m16n8k16 (tf32: mma_m16n8k8) of each warp's 16 rows. TA and TB: whether
// shared a and b are stored with m and n, instead of k, contiguous, which only 16-bit types can be.
// d[4 j + i]: row 16 (warp % 4) + lane / 4 + 8 (i >> 1), column 8 j + lane % 4 * 2 + (i & 1).
// PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions: wgmma.mma_async".
#pragma once
// clang-format off

template <class T>
inline constexpr bool wgmma_has = is_same<T, bf16> || is_same<T, f16> || is_same<T, tf32>;

#if WEFT_EMULATED

template <int SIZE_N, class T, int TA = 0, int TB = 0>
DEVICE_INLINE void wgmma(float (&d)[SIZE_N / 2], uint64_t a, uint64_t b, int scale_d AND_CALLER) {
  static_assert(wgmma_has<T> && SIZE_N % 8 == 0 && SIZE_N <= 256 && !(is_same<T, tf32> && (TA || TB)),
                "wgmma: expected n a multiple of 8 up to 256, and tf32 operands with k contiguous");
  emu_wgmma(SIZE_N, d, nullptr, a, b, scale_d, TA, TB, is_same<T, bf16> ? 0 : is_same<T, f16> ? 1 : 2, HERE);
}

template <int SIZE_N, class T, int TB = 0>
DEVICE_INLINE void wgmma(float (&d)[SIZE_N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d AND_CALLER) {
  static_assert(wgmma_has<T> && SIZE_N % 8 == 0 && SIZE_N <= 256 && !(is_same<T, tf32> && TB),
                "wgmma: expected n a multiple of 8 up to 256, and tf32 operands with k contiguous");
  emu_wgmma(SIZE_N, d, a, 0, b, scale_d, 0, TB, is_same<T, bf16> ? 0 : is_same<T, f16> ? 1 : 2, HERE);
}

#else

// The accumulators of n columns: names in the instruction (D) and operands (F), each list the last and four more.
#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
"""


def lists() -> str:
    lines = []
    for n in SIZES:
        i = n // 2 - 4
        names = ", ".join(f"%{i + j}" for j in range(4))
        before_d, before_f = (f'D{n - 8} ", " ', f"F{n - 8}, ") if n > 8 else ("", "")
        lines.append(f'#define D{n} {before_d}"{names}"')
        lines.append(f"#define F{n} {before_f}F4({i})")
    return "\n".join(lines)


CALLS = """
// One instruction per overload, chosen by the size of d and a tag of type T. Numbers R... are those of the operands
// that follow the N / 2 accumulators.
#define WGMMA_SHARED(N, K, T, PARAMETERS, MORE, INPUTS, R0, R1, R2) \\
  PARAMETERS DEVICE_INLINE void wgmma_call(T, float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d) { \\
    asm volatile("{\\n.reg .pred p;\\nsetp.ne.b32 p, %" #R2 ", 0;\\n" \\
                 "wgmma.mma_async.sync.aligned.m64n" #N "k" #K ".f32." #T "." #T " {" D##N "}, " \\
                 "%" #R0 ", %" #R1 ", p, 1, 1" MORE ";\\n}" : F##N : "l"(a), "l"(b), "r"(scale_d) INPUTS); \\
  }
#define WGMMA_REGISTERS(N, K, T, PARAMETERS, MORE, INPUTS, R0, R1, R2, R3, R4, R5) \\
  PARAMETERS DEVICE_INLINE void wgmma_call(T, float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d) { \\
    asm volatile("{\\n.reg .pred p;\\nsetp.ne.b32 p, %" #R5 ", 0;\\n" \\
                 "wgmma.mma_async.sync.aligned.m64n" #N "k" #K ".f32." #T "." #T " {" D##N "}, " \\
                 "{%" #R0 ", %" #R1 ", %" #R2 ", %" #R3 "}, %" #R4 ", p, 1, 1" MORE ";\\n}" \\
                 : F##N : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d) INPUTS); \\
  }
#define COMMA ,
#define WGMMA_16_BITS(N, T, R0, R1, R2, R3, R4, R5, R6) \\
  WGMMA_SHARED(N, 16, T, template <int TA COMMA int TB>, ", %" #R3 ", %" #R4, COMMA "n"(TA) COMMA "n"(TB), \\
               R0, R1, R2) \\
  WGMMA_REGISTERS(N, 16, T, template <int TB>, ", %" #R6, COMMA "n"(TB), R0, R1, R2, R3, R4, R5)
#define WGMMA(N, R0, R1, R2, R3, R4, R5, R6) \\
  WGMMA_16_BITS(N, f16, R0, R1, R2, R3, R4, R5, R6) \\
  WGMMA_16_BITS(N, bf16, R0, R1, R2, R3, R4, R5, R6) \\
  WGMMA_SHARED(N, 8, tf32, , , , R0, R1, R2) \\
  WGMMA_REGISTERS(N, 8, tf32, , , , R0, R1, R2, R3, R4, R5)
"""

TAIL = """
template <int SIZE_N, class T, int TA = 0, int TB = 0>
DEVICE_INLINE void wgmma(float (&d)[SIZE_N / 2], uint64_t a, uint64_t b, int scale_d) {
  if constexpr (is_same<T, tf32>) {
    static_assert(!TA && !TB, "wgmma: expected tf32 operands with k contiguous");
    wgmma_call(T(), d, a, b, scale_d);
  } else {
    wgmma_call<TA, TB>(T(), d, a, b, scale_d);
  }
}

template <int SIZE_N, class T, int TB = 0>
DEVICE_INLINE void wgmma(float (&d)[SIZE_N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d) {
  if constexpr (is_same<T, tf32>) {
    static_assert(!TB, "wgmma: expected tf32 operands with k contiguous");
    wgmma_call(T(), d, a, b, scale_d);
  } else {
    wgmma_call<TB>(T(), d, a, b, scale_d);
  }
}

#endif
"""


def text() -> str:
    calls = "\n".join(f"WGMMA({n}, {', '.join(str(n // 2 + i) for i in range(7))})" for n in SIZES)
    return HEAD + lists() + "\n" + CALLS + calls + "\n" + TAIL


def main() -> int:
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_text() != text())
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
