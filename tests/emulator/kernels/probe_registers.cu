// Registers move from one warpgroup to two others, as in a kernel with a producer and two consumers.
#include "ptx.cuh"

#if WEFT_WGMMA
extern "C" __global__ void __launch_bounds__(384, 1) probe_registers(const unsigned* in, unsigned* out) {
  const unsigned value = in[threadIdx.x];
  if (threadIdx.x < 128) {
    setmaxnreg_dec<40>();
    out[threadIdx.x] = value + 1;
  } else {
    setmaxnreg_inc<232>();
    out[threadIdx.x] = value * 3;
  }
}
EXPORT_KERNEL(probe_registers)
#endif
