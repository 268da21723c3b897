"""A CUDA kernel of one's own: squared distances between two sets of points, with their gradient.

It runs on a GPU, and here on the emulated one, where every access is checked.
"""

import numpy as np

import weft

squared_distances = weft.CudaKernel(
    "squared_distances",
    """
    constexpr int TILE = 16;

    // out[i, j] = |x[i] - y[j]|^2, a tile of 16 x 16 per block; coordinates pass through shared memory, 16 at a time.
    extern "C" __global__ void squared_distances(T* out, const T* x, const T* y, int N, int M, int D) {
      __shared__ float a[TILE][TILE + 1], b[TILE][TILE + 1];
      const int column = threadIdx.x, row = threadIdx.y;
      const int i = blockIdx.y * TILE + row, j = blockIdx.x * TILE + column, y_row = blockIdx.x * TILE + row;
      float sum = 0;
      for (int d = 0; d < D; d += TILE) {
        const bool inside = d + column < D;
        a[row][column] = inside && i < N ? float(x[i * D + d + column]) : 0.0f;
        b[row][column] = inside && y_row < M ? float(y[y_row * D + d + column]) : 0.0f;
        __syncthreads();
        for (int k = 0; k < TILE; k++) {
          const float difference = a[row][k] - b[column][k];
          sum += difference * difference;
        }
        __syncthreads();
      }
      if (i < N && j < M) out[i * M + j] = T(sum);
    }
    """,
    inputs={"x": "T (N, D)", "y": "T (M, D)"},
    outputs={"out": "T (N, M)"},
    types={"T": ("float32", "float16", "bfloat16")},
    grid=lambda N, M: (-(-M // 16), -(-N // 16)),
    threads=(16, 16),
    vjp=lambda g, x, y: (
        2 * (g.sum(axis=1)[:, None] * x - g @ y),
        2 * (g.sum(axis=0)[:, None] * y - g.mT @ x),
    ),
    reference=lambda x, y: ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=-1),
    example={"N": 1024, "M": 1024, "D": 64},
)

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    points, centres = rng.standard_normal((40, 21), np.float32), rng.standard_normal((19, 21), np.float32)
    squared_distances.check(points, centres)  # races, bounds, schedules, the reference
    x = weft.asarray(points, device="emulated")
    x.requires_grad = True
    nearest = squared_distances(x, weft.asarray(centres, device="emulated")).min(axis=1)
    nearest.sum().backward()
    print(f"{squared_distances}: checked")
    print(f"mean squared distance to the nearest centre: {nearest.mean().item():.3f}, gradient {x.grad.shape}")
