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
#define D8 "%0, %1, %2, %3"
#define F8 F4(0)
#define D16 D8 ", " "%4, %5, %6, %7"
#define F16 F8, F4(4)
#define D24 D16 ", " "%8, %9, %10, %11"
#define F24 F16, F4(8)
#define D32 D24 ", " "%12, %13, %14, %15"
#define F32 F24, F4(12)
#define D40 D32 ", " "%16, %17, %18, %19"
#define F40 F32, F4(16)
#define D48 D40 ", " "%20, %21, %22, %23"
#define F48 F40, F4(20)
#define D56 D48 ", " "%24, %25, %26, %27"
#define F56 F48, F4(24)
#define D64 D56 ", " "%28, %29, %30, %31"
#define F64 F56, F4(28)
#define D72 D64 ", " "%32, %33, %34, %35"
#define F72 F64, F4(32)
#define D80 D72 ", " "%36, %37, %38, %39"
#define F80 F72, F4(36)
#define D88 D80 ", " "%40, %41, %42, %43"
#define F88 F80, F4(40)
#define D96 D88 ", " "%44, %45, %46, %47"
#define F96 F88, F4(44)
#define D104 D96 ", " "%48, %49, %50, %51"
#define F104 F96, F4(48)
#define D112 D104 ", " "%52, %53, %54, %55"
#define F112 F104, F4(52)
#define D120 D112 ", " "%56, %57, %58, %59"
#define F120 F112, F4(56)
#define D128 D120 ", " "%60, %61, %62, %63"
#define F128 F120, F4(60)
#define D136 D128 ", " "%64, %65, %66, %67"
#define F136 F128, F4(64)
#define D144 D136 ", " "%68, %69, %70, %71"
#define F144 F136, F4(68)
#define D152 D144 ", " "%72, %73, %74, %75"
#define F152 F144, F4(72)
#define D160 D152 ", " "%76, %77, %78, %79"
#define F160 F152, F4(76)
#define D168 D160 ", " "%80, %81, %82, %83"
#define F168 F160, F4(80)
#define D176 D168 ", " "%84, %85, %86, %87"
#define F176 F168, F4(84)
#define D184 D176 ", " "%88, %89, %90, %91"
#define F184 F176, F4(88)
#define D192 D184 ", " "%92, %93, %94, %95"
#define F192 F184, F4(92)
#define D200 D192 ", " "%96, %97, %98, %99"
#define F200 F192, F4(96)
#define D208 D200 ", " "%100, %101, %102, %103"
#define F208 F200, F4(100)
#define D216 D208 ", " "%104, %105, %106, %107"
#define F216 F208, F4(104)
#define D224 D216 ", " "%108, %109, %110, %111"
#define F224 F216, F4(108)
#define D232 D224 ", " "%112, %113, %114, %115"
#define F232 F224, F4(112)
#define D240 D232 ", " "%116, %117, %118, %119"
#define F240 F232, F4(116)
#define D248 D240 ", " "%120, %121, %122, %123"
#define F248 F240, F4(120)
#define D256 D248 ", " "%124, %125, %126, %127"
#define F256 F248, F4(124)

// One instruction per overload, chosen by the size of d and a tag of type T. Numbers R... are those of the operands
// that follow the N / 2 accumulators.
#define WGMMA_SHARED(N, K, T, PARAMETERS, MORE, INPUTS, R0, R1, R2) \
  PARAMETERS DEVICE_INLINE void wgmma_call(T, float (&d)[N / 2], uint64_t a, uint64_t b, int scale_d) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R2 ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k" #K ".f32." #T "." #T " {" D##N "}, " \
                 "%" #R0 ", %" #R1 ", p, 1, 1" MORE ";\n}" : F##N : "l"(a), "l"(b), "r"(scale_d) INPUTS); \
  }
#define WGMMA_REGISTERS(N, K, T, PARAMETERS, MORE, INPUTS, R0, R1, R2, R3, R4, R5) \
  PARAMETERS DEVICE_INLINE void wgmma_call(T, float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int scale_d) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #R5 ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k" #K ".f32." #T "." #T " {" D##N "}, " \
                 "{%" #R0 ", %" #R1 ", %" #R2 ", %" #R3 "}, %" #R4 ", p, 1, 1" MORE ";\n}" \
                 : F##N : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d) INPUTS); \
  }
#define COMMA ,
#define WGMMA_16_BITS(N, T, R0, R1, R2, R3, R4, R5, R6) \
  WGMMA_SHARED(N, 16, T, template <int TA COMMA int TB>, ", %" #R3 ", %" #R4, COMMA "n"(TA) COMMA "n"(TB), \
               R0, R1, R2) \
  WGMMA_REGISTERS(N, 16, T, template <int TB>, ", %" #R6, COMMA "n"(TB), R0, R1, R2, R3, R4, R5)
#define WGMMA(N, R0, R1, R2, R3, R4, R5, R6) \
  WGMMA_16_BITS(N, f16, R0, R1, R2, R3, R4, R5, R6) \
  WGMMA_16_BITS(N, bf16, R0, R1, R2, R3, R4, R5, R6) \
  WGMMA_SHARED(N, 8, tf32, , , , R0, R1, R2) \
  WGMMA_REGISTERS(N, 8, tf32, , , , R0, R1, R2, R3, R4, R5)
WGMMA(8, 4, 5, 6, 7, 8, 9, 10)
WGMMA(16, 8, 9, 10, 11, 12, 13, 14)
WGMMA(24, 12, 13, 14, 15, 16, 17, 18)
WGMMA(32, 16, 17, 18, 19, 20, 21, 22)
WGMMA(40, 20, 21, 22, 23, 24, 25, 26)
WGMMA(48, 24, 25, 26, 27, 28, 29, 30)
WGMMA(56, 28, 29, 30, 31, 32, 33, 34)
WGMMA(64, 32, 33, 34, 35, 36, 37, 38)
WGMMA(72, 36, 37, 38, 39, 40, 41, 42)
WGMMA(80, 40, 41, 42, 43, 44, 45, 46)
WGMMA(88, 44, 45, 46, 47, 48, 49, 50)
WGMMA(96, 48, 49, 50, 51, 52, 53, 54)
WGMMA(104, 52, 53, 54, 55, 56, 57, 58)
WGMMA(112, 56, 57, 58, 59, 60, 61, 62)
WGMMA(120, 60, 61, 62, 63, 64, 65, 66)
WGMMA(128, 64, 65, 66, 67, 68, 69, 70)
WGMMA(136, 68, 69, 70, 71, 72, 73, 74)
WGMMA(144, 72, 73, 74, 75, 76, 77, 78)
WGMMA(152, 76, 77, 78, 79, 80, 81, 82)
WGMMA(160, 80, 81, 82, 83, 84, 85, 86)
WGMMA(168, 84, 85, 86, 87, 88, 89, 90)
WGMMA(176, 88, 89, 90, 91, 92, 93, 94)
WGMMA(184, 92, 93, 94, 95, 96, 97, 98)
WGMMA(192, 96, 97, 98, 99, 100, 101, 102)
WGMMA(200, 100, 101, 102, 103, 104, 105, 106)
WGMMA(208, 104, 105, 106, 107, 108, 109, 110)
WGMMA(216, 108, 109, 110, 111, 112, 113, 114)
WGMMA(224, 112, 113, 114, 115, 116, 117, 118)
WGMMA(232, 116, 117, 118, 119, 120, 121, 122)
WGMMA(240, 120, 121, 122, 123, 124, 125, 126)
WGMMA(248, 124, 125, 126, 127, 128, 129, 130)
WGMMA(256, 128, 129, 130, 131, 132, 133, 134)

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
