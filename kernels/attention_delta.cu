// What the backward passes of attention need of each row: the product of its gradient and its output, and its lse, for 16-bit
// types to base two, infinite where the row sees no key, so that its weights become 0.
//
// Defines: TYPE.
#include "attention/problem.cuh"

constexpr int THREADS = 256, LANES = 8, PER_CHUNK = 16 / sizeof(TYPE);
// Gradients of scores are differences between this sum and products in float32, of which it should not err too.
using Sum = Choose<sizeof(TYPE) == 4, double, float>::type;

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_delta(const TYPE* g, const TYPE* out, const float* lse, float* logs, float* deltas, const Strides steps_g,
                    const Strides steps_out, int heads, int rows, int columns, long long count) {
  using Chunk = Vector<TYPE, PER_CHUNK>;
  const long long number = (long long)(blockIdx.x) * (THREADS / LANES) + threadIdx.x / LANES;
  Sum sum = 0;
  if (number < count) {
    const int row = int(number % rows), head = int(number / rows % heads), batch = int(number / rows / heads);
    const TYPE* const x = g + at(steps_g, batch, head, row);
    const TYPE* const y = out + at(steps_out, batch, head, row);
    for (int column = threadIdx.x % LANES * PER_CHUNK; column < columns; column += LANES * PER_CHUNK) {
      const Chunk a = *reinterpret_cast<const Chunk*>(x + column), b = *reinterpret_cast<const Chunk*>(y + column);
#pragma unroll
      for (int i = 0; i < PER_CHUNK; i++) sum += Sum(float(a.at[i])) * Sum(float(b.at[i]));
    }
  }
  sum = warp_reduce<LANES>(sum, [](Sum a, Sum b) { return a + b; });
  if (number < count && threadIdx.x % LANES == 0) {
    deltas[number] = float(sum);
    logs[number] = lse[number] == -INFINITY ? INFINITY : lse[number] * (sizeof(TYPE) == 4 ? 1.0f : LOG2_E);
  }
}
EXPORT_KERNEL(attention_delta)
