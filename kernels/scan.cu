// Cumulative sums along one axis of a C-contiguous array (outer, n, inner).
// Defines: IN, OUT   types of the elements and of the results;   ACCUMULATE   type of sums.
#include "common.cuh"

constexpr int THREADS = 256, PER_THREAD = 4, TILE = THREADS * PER_THREAD;

// inner = 1: a block per row takes it in tiles. Each thread sums four neighbours, then the sums of all threads before
// it are added, and the sum of the tiles before.
extern "C" __global__ void __launch_bounds__(THREADS)
    scan_rows(OUT* out, const IN* in, long long outer, long long n, long long inner) {
  __shared__ ACCUMULATE warps[THREADS / 32];
  const long long row = blockIdx.x * n;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  ACCUMULATE before = 0;
  for (long long start = 0; start < n; start += TILE) {
    const long long first = start + threadIdx.x * PER_THREAD;
    ACCUMULATE x[PER_THREAD];
#pragma unroll
    for (int v = 0; v < PER_THREAD; v++) {
      x[v] = first + v < n ? convert<ACCUMULATE>(in[row + first + v]) : ACCUMULATE(0);
      if (v) x[v] += x[v - 1];
    }
    ACCUMULATE sum = x[PER_THREAD - 1];
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const ACCUMULATE left = __shfl_up_sync(0xffffffffu, sum, distance);
      if (lane >= distance) sum += left;
    }
    if (lane == 31) warps[warp] = sum;
    ACCUMULATE left = __shfl_up_sync(0xffffffffu, sum, 1);
    if (lane == 0) left = 0;
    __syncthreads();
    ACCUMULATE lower = 0, tile = 0;
#pragma unroll
    for (int w = 0; w < THREADS / 32; w++) {
      if (w == warp) lower = tile;
      tile += warps[w];
    }
    __syncthreads();
#pragma unroll
    for (int v = 0; v < PER_THREAD; v++)
      if (first + v < n) out[row + first + v] = convert<OUT>(before + (lower + (left + x[v])));
    before += tile;
  }
}
EXPORT_KERNEL(scan_rows)

// inner > 1: a thread per column.
extern "C" __global__ void __launch_bounds__(THREADS)
    scan_columns(OUT* out, const IN* in, long long outer, long long n, long long inner) {
  const long long column = blockIdx.x * (long long)(THREADS) + threadIdx.x;
  if (column >= outer * inner) return;
  const long long top = column / inner * n * inner + column % inner;
  ACCUMULATE sum = 0;
  for (long long i = 0; i < n; i++) {
    sum += convert<ACCUMULATE>(in[top + i * inner]);
    out[top + i * inner] = convert<OUT>(sum);
  }
}
EXPORT_KERNEL(scan_columns)
