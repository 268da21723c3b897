// Order between blocks through global memory.
#include "ptx.cuh"

// Each block takes a ticket when its slice is written; the one with the last ticket sums the slices. Blocks then wait
// in a line: block i for the flag of block i - 1.
extern "C" __global__ void probe_order(const int* in, int* partial, int* counters, int* out) {
  __shared__ int last;
  const int block = blockIdx.x, blocks = gridDim.x, thread = threadIdx.x;
  partial[block * 32 + thread] = in[block * 32 + thread] * 2;
  __syncthreads();
  if (thread == 0) last = atomic_add_acq_rel_gpu(counters, 1) == blocks - 1;
  __syncthreads();
  if (last) {
    int sum = 0;
    for (int i = 0; i < blocks; i++) sum += partial[i * 32 + thread];
    out[thread] = sum;
  }
  int* flag = counters + 1;
  int* tickets = counters + 2;
  if (thread == 0) {
    while (ld_acquire_gpu(flag) != block) nanosleep(20);
    out[32 + block] = block ? out[32 + block - 1] + in[block] : in[0];
    st_release_gpu(flag, block + 1);
    atomic_add_release_gpu(tickets, block + 1);
  }
}
EXPORT_KERNEL(probe_order)

#if WEFT_ARCH >= 900
// Launched twice, the second time as a dependent of the first: it must see what that wrote.
extern "C" __global__ void probe_dependent(int* values) {
  grid_dependency_wait();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int value = values[i] * 3 + 1;
  values[i] = value;
  grid_dependency_launch();
}
EXPORT_KERNEL(probe_dependent)
#endif
