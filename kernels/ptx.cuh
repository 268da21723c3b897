// Thin wrappers of PTX instructions. This file and those of ptx/ are the only ones with inline PTX; kernels include
// this one and call these functions. Each stands beside its emulated body, a call into csrc/emulator, which runs it
// on a CPU, and names the section of the PTX ISA that it follows.
//
// A wrapper exists from the architecture on that has its instruction; where it does not exist, a kernel that calls it
// does not compile. Addresses of shared memory are 32 bits wide, from smem_u32.
#pragma once
#include "types.cuh"

#if WEFT_EMULATED
#include "device.h"
#define PTX(...)
#define EMULATED(...) __VA_ARGS__
// Parameters that name the caller's line in the emulator's reports; HERE passes them on.
#define CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define AND_CALLER , CALLER
#define HERE file, line
#else
#define PTX(...) asm volatile(__VA_ARGS__)
#define EMULATED(...)
#define CALLER
#define AND_CALLER
#endif

#include "ptx/copy.cuh"
#include "ptx/mma.cuh"
#include "ptx/barrier.cuh"
#include "ptx/memory.cuh"
#if WEFT_ARCH >= 900
#include "ptx/cluster.cuh"
#include "ptx/tma.cuh"
#endif
#if WEFT_WGMMA
#include "ptx/warpgroup.cuh"
#endif
