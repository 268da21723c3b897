// Functions that a kernel calls from another file: what goes wrong in them is reported at the kernel's line.
#pragma once
#include "ptx.cuh"

DEVICE_INLINE float next_value(const float* values, int i) { return values[i + 1]; }

__noinline__ __device__ float second_value(const float* values, int i) { return values[i + 2]; }
