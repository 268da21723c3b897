// Sums of rows by index, in an order that the indices alone decide: a stable sort of the indices, eight bits at a time,
// then the rows of each index, one after the other. Nothing is added by atomics but the counts of digits, whole numbers.
//
// Defines:
//   INDEX   int32_t | int64_t
//   TYPE    element type of rows;   ACCUMULATE   type they are added in
//   VECTOR  columns that a lane takes where rows allow it: 16 bytes
#include "common.cuh"
#include "flags.cuh"

// python/weft/backends/gpu/embedding.py has the same.
constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int DIGITS = 256;  // that one pass sorts by
constexpr int ROUNDS = 8;    // in which a warp takes its keys of a tile
constexpr int TILE = THREADS * ROUNDS;
constexpr uint32_t NONE = 0xffffffffu;  // no key is that

constexpr uint32_t EVERY_LANE = 0xffffffffu;

// What is sorted: pass 0 takes the indices themselves, later ones what the pass before wrote. An index out of [0, rows)
// becomes the key `rows`, behind all others, which is never summed.
struct Keys {
  const INDEX* indices;  // or null
  const uint32_t* keys;
  const uint32_t* order;
  long long count, rows;

  DEVICE_INLINE uint32_t key(long long i) const {
    if (!indices) return keys[i];
    const long long index = indices[i];
    return index < 0 || index >= rows ? uint32_t(rows) : uint32_t(index);
  }
  DEVICE_INLINE uint32_t from(long long i) const { return indices ? uint32_t(i) : order[i]; }
};

// counts (DIGITS, tiles): how often each digit, the eight bits from `shift` on, stands in each tile
extern "C" __global__ void __launch_bounds__(THREADS)
    count_digits(uint32_t* counts, const INDEX* indices, const uint32_t* keys, long long count, long long rows,
                 int shift, void* flag, unsigned long long what) {
  __shared__ int histogram[DIGITS];
  const Keys in{indices, keys, nullptr, count, rows};
  histogram[threadIdx.x] = 0;
  __syncthreads();
  for (int round = 0; round < ROUNDS; round++) {
    const long long i = (long long)(blockIdx.x) * TILE + round * THREADS + threadIdx.x;
    if (i >= count) break;
    const uint32_t key = in.key(i);
    if (indices && key == uint32_t(rows)) raise_flag(static_cast<FlagWord*>(flag), what, indices[i], i);
    atomicAdd(&histogram[key >> shift & (DIGITS - 1)], 1);
  }
  __syncthreads();
  counts[(long long)(threadIdx.x) * gridDim.x + blockIdx.x] = uint32_t(histogram[threadIdx.x]);
}
EXPORT_KERNEL(count_digits)

// The sum of x over this lane and those below it.
DEVICE_INLINE uint32_t sum_up_to(uint32_t x) {
  const int lane = int(threadIdx.x % 32);
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint32_t left = __shfl_up_sync(EVERY_LANE, x, distance);
    if (lane >= distance) x += left;
  }
  return x;
}

// counts (DIGITS, tiles): how often each digit stands in the tiles before;  totals (DIGITS): in all. A warp per digit.
extern "C" __global__ void __launch_bounds__(THREADS) scan_digits(uint32_t* counts, uint32_t* totals, int tiles) {
  const int digit = int(blockIdx.x) * WARPS + int(threadIdx.x / 32), lane = int(threadIdx.x % 32);
  uint32_t* row = counts + (long long)(digit)*tiles;
  uint32_t before = 0;
  for (int start = 0; start < tiles; start += 32) {
    const uint32_t own = start + lane < tiles ? row[start + lane] : 0, sum = sum_up_to(own);
    if (start + lane < tiles) row[start + lane] = before + sum - own;
    before += __shfl_sync(EVERY_LANE, sum, 31);
  }
  if (lane == 0) totals[digit] = before;
}
EXPORT_KERNEL(scan_digits)

// Every key of a tile, and where it was at first, goes behind those of smaller digits, and of its digit behind those that
// stood before it: in earlier tiles, earlier warps of the tile, earlier rounds of the warp, lower lanes of the round.
extern "C" __global__ void __launch_bounds__(THREADS)
    place_keys(uint32_t* sorted, uint32_t* order_out, const INDEX* indices, const uint32_t* keys, const uint32_t* order,
               const uint32_t* counts, const uint32_t* totals, long long count, long long rows, int shift) {
  __shared__ uint32_t seen[WARPS][DIGITS], first[DIGITS], sums[WARPS];
  const Keys in{indices, keys, order, count, rows};
  const int lane = int(threadIdx.x % 32), warp = int(threadIdx.x / 32), digit_of_thread = int(threadIdx.x);
#pragma unroll
  for (int w = 0; w < WARPS; w++) seen[w][digit_of_thread] = 0;
  const uint32_t total = totals[digit_of_thread], up_to = sum_up_to(total);
  if (lane == 31) sums[warp] = up_to;
  __syncthreads();
  uint32_t smaller = up_to - total;
  for (int w = 0; w < warp; w++) smaller += sums[w];
  first[digit_of_thread] = smaller + counts[(long long)(digit_of_thread)*gridDim.x + blockIdx.x];

  uint32_t key[ROUNDS], rank[ROUNDS];
  const long long begin = (long long)(blockIdx.x) * TILE + warp * (ROUNDS * 32) + lane;
#pragma unroll
  for (int round = 0; round < ROUNDS; round++) {
    const bool inside = begin + round * 32 < count;
    key[round] = inside ? in.key(begin + round * 32) : NONE;
    const uint32_t digit = key[round] >> shift & (DIGITS - 1);
    const uint32_t alike = __match_any_sync(EVERY_LANE, inside ? digit : DIGITS);
    const uint32_t before = inside ? seen[warp][digit] : 0;
    rank[round] = before + uint32_t(__popc(alike & ((1u << lane) - 1)));
    __syncwarp();
    if (inside && (alike >> lane) >> 1 == 0) seen[warp][digit] = rank[round] + 1;  // the highest of those alike
    __syncwarp();
  }
  __syncthreads();
  uint32_t before = first[digit_of_thread];
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
    const uint32_t own = seen[w][digit_of_thread];
    seen[w][digit_of_thread] = before;
    before += own;
  }
  __syncthreads();
#pragma unroll
  for (int round = 0; round < ROUNDS; round++) {
    const long long i = begin + round * 32;
    if (i >= count) break;
    const uint32_t to = seen[warp][key[round] >> shift & (DIGITS - 1)] + rank[round];
    sorted[to] = key[round];
    order_out[to] = in.from(i);
  }
}
EXPORT_KERNEL(place_keys)

// -- sums. A warp takes `span` times 32 places of the sorted keys, for 32 * VECTOR columns. The sum of a run of equal keys
// that lies among them goes to its row; of a run that began before, to `heads`; of one that only begins, to `tails`. The
// second kernel adds those up.

struct Rows {
  const uint32_t* sorted;
  const uint32_t* order;
  long long rows, count, width;
  int span;

  DEVICE_INLINE uint32_t key(long long place) const { return place >= 0 && place < count ? sorted[place] : NONE; }
};

template <int N>
DEVICE_INLINE void add_rows(TYPE* out, const TYPE* g, ACCUMULATE* heads, ACCUMULATE* tails, const Rows& r) {
  constexpr int AHEAD = 4;  // rows that are read at once
  const int lane = int(threadIdx.x % 32);
  const long long chunk = blockIdx.x * (long long)(WARPS) + threadIdx.x / 32;
  const long long column = (blockIdx.y * 32LL + lane) * N;
  const long long begin = chunk * r.span * 32, end = begin + r.span * 32 < r.count ? begin + r.span * 32 : r.count;
  if (begin >= r.count) return;
  const bool inside = column < r.width;
  bool head = r.key(begin - 1) == r.key(begin);
  ACCUMULATE sum[N] = {};
  for (long long start = begin; start < end; start += 32) {
    const int n = end - start < 32 ? int(end - start) : 32;
    const uint32_t key = r.key(start + lane), from = lane < n ? r.order[start + lane] : 0, next = r.key(start + n);
    for (int p = 0; p < n; p += AHEAD) {
      Vector<TYPE, N> values[AHEAD];
#pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        const long long row = __shfl_sync(EVERY_LANE, from, p + u < n ? p + u : 0);
        if (p + u < n && inside) values[u] = *reinterpret_cast<const Vector<TYPE, N>*>(g + row * r.width + column);
      }
#pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        if (p + u >= n) break;
        const uint32_t mine = __shfl_sync(EVERY_LANE, key, p + u),
                       later = __shfl_sync(EVERY_LANE, key, (p + u + 1) % 32);
        const bool more = mine == (p + u + 1 < n ? later : next), last = start + p + u + 1 == end;
        if (inside) {
#pragma unroll
          for (int v = 0; v < N; v++) sum[v] += convert<ACCUMULATE>(values[u].at[v]);
        }
        if (more && !last) continue;
        if (inside && (head || more)) {
          ACCUMULATE* part = (head ? heads : tails) + chunk * r.width + column;
#pragma unroll
          for (int v = 0; v < N; v++) part[v] = sum[v];
        } else if (inside && mine < r.rows) {
          Vector<TYPE, N> result;
#pragma unroll
          for (int v = 0; v < N; v++) result.at[v] = convert<TYPE>(sum[v]);
          *reinterpret_cast<Vector<TYPE, N>*>(out + (long long)(mine)*r.width + column) = result;
        }
        head = false;
#pragma unroll
        for (int v = 0; v < N; v++) sum[v] = 0;
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    scatter_add(TYPE* out, const TYPE* g, const uint32_t* sorted, const uint32_t* order, ACCUMULATE* heads,
                ACCUMULATE* tails, long long rows, long long count, long long width, int span, int vectors) {
  const Rows r{sorted, order, rows, count, width, span};
  if (vectors)
    add_rows<VECTOR>(out, g, heads, tails, r);
  else
    add_rows<1>(out, g, heads, tails, r);
}
EXPORT_KERNEL(scatter_add)

// The rows whose runs cross from one chunk to the next: where a run begins, its tail and all heads after it.
extern "C" __global__ void __launch_bounds__(THREADS)
    scatter_add_runs(TYPE* out, const uint32_t* sorted, const ACCUMULATE* heads, const ACCUMULATE* tails,
                     long long rows, long long count, long long width, int span) {
  const Rows r{sorted, nullptr, rows, count, width, span};
  const long long chunk = blockIdx.x * (long long)(WARPS) + threadIdx.x / 32, size = span * 32;
  const long long column = blockIdx.y * 32LL + threadIdx.x % 32, begin = chunk * size, end = begin + size;
  if (end >= count || column >= width) return;
  const uint32_t key = sorted[end];
  if (r.key(end - 1) != key || key >= rows) return;             // no run goes on
  if (sorted[begin] == key && r.key(begin - 1) == key) return;  // it began before this chunk
  ACCUMULATE sum = tails[chunk * width + column];
  for (long long next = chunk + 1; r.key(next * size) == key; next++) sum += heads[next * width + column];
  out[(long long)(key)*width + column] = convert<TYPE>(sum);
}
EXPORT_KERNEL(scatter_add_runs)
