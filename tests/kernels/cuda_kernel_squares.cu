// A user's kernel in a file of its own, for test_cuda_kernel.py.
extern "C" __global__ void squares(float* out, const float* x, int N) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < N) out[i] = x[i] * x[i];
}
