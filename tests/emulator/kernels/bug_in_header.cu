// Reads beyond an array, in a header.
#include "bug_header.cuh"

// 32 threads.  in (n) -> out (32)
extern "C" __global__ void through_header(const float* in, float* out) {
#ifdef INLINED
  // reported: INLINED
  out[threadIdx.x] = next_value(in, threadIdx.x);
#else
  // reported: CALLED
  out[threadIdx.x] = second_value(in, threadIdx.x);
#endif
}
EXPORT_KERNEL(through_header)
