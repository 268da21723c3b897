// Layer norm and RMS norm along the rows of (rows, columns), with their gradients. Sums over rows, the gradients of
// weight and bias, are taken in two passes whose order the shapes alone decide: each block sums the rows that it has
// read, and norm_parameters adds up what the blocks have found.
//
// Defines: those of rows.cuh, with WHOLE 1;   PARAMETER   element type of weight and bias
#include "rows.cuh"

constexpr int KEPT = KEEP ? KEEP : 1;

DEVICE_INLINE float inverse_root(float x) { return 1 / sqrtf(x); }
DEVICE_INLINE double inverse_root(double x) { return 1 / sqrt(x); }

// VECTOR parameters of neighbouring columns; `missing` where there are none.
struct Parameters {
  Real at[VECTOR];

  DEVICE_INLINE Parameters(const PARAMETER* p, int column, Real missing) {
    Vector<PARAMETER, VECTOR> read;
    if (p) read = *reinterpret_cast<const Vector<PARAMETER, VECTOR>*>(p + column);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) at[v] = p ? Real(convert<Wide<PARAMETER>>(read.at[v])) : missing;
  }
};

// Count, mean and sum of squared deviations of some numbers, joined as Chan, Golub and LeVeque (1979) do: a sum of
// squares less the square of a sum would cancel where the mean is far from zero.
struct Moments {
  Real count, mean, squares;
};

struct JoinMoments {
  DEVICE_INLINE Moments operator()(const Moments& a, const Moments& b) const {
    const Real count = a.count + b.count, difference = b.mean - a.mean;
    const Real part = count == 0 ? Real(0) : b.count / count;
    return {count, a.mean + difference * part, a.squares + b.squares + difference * difference * a.count * part};
  }
};

DEVICE_INLINE Moments shuffle_xor(const Moments& m, int distance) {
  return {shuffle_xor(m.count, distance), shuffle_xor(m.mean, distance), shuffle_xor(m.squares, distance)};
}

// The mean of a row and its sum of squared deviations: in two passes over what registers hold, or in one over memory.
DEVICE_INLINE Moments moments_of(const Share<1>& x, Moments* scratch) {
  Moments all = {0, 0, 0};
  if constexpr (KEEP > 0) {
    Real* const sums = reinterpret_cast<Real*>(scratch);
    x.each([&](int, const Pack(&part)[1], int) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) all.mean += Real(part[0].at[v]);
    });
    all.mean = team_reduce(all.mean, sums, Plus()) / x.columns;
    x.each([&](int, const Pack(&part)[1], int) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        const Real d = Real(part[0].at[v]) - all.mean;
        all.squares += d * d;
      }
    });
    all.squares = team_reduce(all.squares, sums, Plus());
    return all;
  } else {
    x.each([&](int, const Pack(&part)[1], int) {
      Moments here = {VECTOR, 0, 0};
#pragma unroll
      for (int v = 0; v < VECTOR; v++) here.mean += Real(part[0].at[v]);
      here.mean /= VECTOR;
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        const Real d = Real(part[0].at[v]) - here.mean;
        here.squares += d * d;
      }
      all = JoinMoments()(all, here);
    });
    return team_reduce(all, scratch, JoinMoments());
  }
}

template <bool RMS>
DEVICE_INLINE void forward(TYPE* out, Real* mean, Real* rstd, const TYPE* in, const PARAMETER* weight,
                           const PARAMETER* bias, long long rows, int columns, Real eps, Moments* scratch) {
  const long long row = row_of_team();
  const Share<1> x({in}, row, row < rows ? columns : 0, convert<TYPE>(0));
  Real centre = 0, squares = 0;
  if constexpr (RMS) {
    x.each([&](int, const Pack(&part)[1], int) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) squares += Real(part[0].at[v]) * Real(part[0].at[v]);
    });
    squares = team_reduce(squares, reinterpret_cast<Real*>(scratch), Plus());
  } else {
    const Moments moments = moments_of(x, scratch);
    centre = moments.mean, squares = moments.squares;
  }
  const Real scale = inverse_root(squares / columns + eps);
  if (row < rows && threadIdx.x % LANES == 0) {
    if (!RMS) mean[row] = centre;
    rstd[row] = scale;
  }
  x.each([&](int at, const Pack(&part)[1], int) {
    const Parameters w(weight, at, 1), b(bias, at, 0);
    Pack y;
#pragma unroll
    for (int v = 0; v < VECTOR; v++)
      y.at[v] = convert<TYPE>((Real(part[0].at[v]) - centre) * scale * w.at[v] + b.at[v]);
    store_part(out + row * columns, at, columns, y);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    layer_norm(TYPE* out, void* mean, void* rstd, const TYPE* x, const PARAMETER* weight, const PARAMETER* bias,
               long long rows, int columns, double eps) {
  __shared__ Moments scratch[THREADS / 32];
  forward<false>(out, static_cast<Real*>(mean), static_cast<Real*>(rstd), x, weight, bias, rows, columns, Real(eps),
                 scratch);
}
EXPORT_KERNEL(layer_norm)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    rms_norm(TYPE* out, void* rstd, const TYPE* x, const PARAMETER* weight, long long rows, int columns, double eps) {
  __shared__ Moments scratch[THREADS / 32];
  forward<true>(out, static_cast<Real*>(nullptr), static_cast<Real*>(rstd), x, weight, nullptr, rows, columns,
                Real(eps), scratch);
}
EXPORT_KERNEL(rms_norm)

// Sums of a row: of what the normal values are multiplied by, and of that times them.
struct Pair {
  Real plain, weighted;
};

struct AddPairs {
  DEVICE_INLINE Pair operator()(const Pair& a, const Pair& b) const {
    return {a.plain + b.plain, a.weighted + b.weighted};
  }
};

DEVICE_INLINE Pair shuffle_xor(const Pair& p, int distance) {
  return {shuffle_xor(p.plain, distance), shuffle_xor(p.weighted, distance)};
}

// What a thread has found for the gradients of its columns' weight and bias, which are those of one thread of each team:
// the last team adds them up, in the order of teams, and writes them.
DEVICE_INLINE void write_partials(Real* partials, Pair (&sums)[KEPT][VECTOR], int columns, Pair* shared) {
  const int lane = threadIdx.x % LANES, team = threadIdx.x / LANES;
  for (int t = 0; t < TEAMS; t++) {
    if (t > 0) __syncthreads();
    if (team != t) continue;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        Pair* const place = shared + (k * VECTOR + v) * LANES + lane;
        if (t > 0) sums[k][v] = AddPairs()(*place, sums[k][v]);
        if (t < TEAMS - 1) *place = sums[k][v];
      }
    }
  }
  if (team < TEAMS - 1) return;
  Real* const weight = partials + blockIdx.x * (long long)(columns);
  Real* const bias = weight + gridDim.x * (long long)(columns);
#pragma unroll
  for (int k = 0; k < KEPT; k++) {
    const int at = lane * VECTOR + k * STEP;
    if (at < columns) {
#pragma unroll
      for (int v = 0; v < VECTOR; v++) weight[at + v] = sums[k][v].weighted, bias[at + v] = sums[k][v].plain;
    }
  }
}

// -> the gradient of x; with KEEP, those of weight and bias of the rows that the block takes, partials (2, blocks,
// columns). Block b has the rows of teams b, b + blocks, ...
template <bool RMS>
DEVICE_INLINE void backward(TYPE* out, Real* partials, const TYPE* g, const TYPE* x, const PARAMETER* weight,
                            const Real* mean, const Real* rstd, long long rows, int columns, Pair* scratch,
                            Pair* shared) {
  Pair sums[KEPT][VECTOR];
#pragma unroll
  for (int k = 0; k < KEPT; k++) {
#pragma unroll
    for (int v = 0; v < VECTOR; v++) sums[k][v] = {0, 0};
  }
  const long long step = gridDim.x * (long long)(TEAMS), first = row_of_team();
  // all teams of a block walk together
  for (long long row = first; row - threadIdx.x / LANES < rows; row += step) {
    const bool inside = row < rows;
    const Share<2> both({g, x}, row, inside ? columns : 0, convert<TYPE>(0));
    const Real centre = RMS || !inside ? Real(0) : mean[row], scale = inside ? rstd[row] : Real(0);
    Pair sum = {0, 0};
    both.each([&](int at, const Pack(&part)[2], int k) {
      const Parameters w(weight, at, 1);
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        const Real g_here = part[0].at[v], normal = (Real(part[1].at[v]) - centre) * scale;
        sum.plain += g_here * w.at[v];
        sum.weighted += g_here * w.at[v] * normal;
        if constexpr (KEEP > 0) {
          sums[k][v].plain += g_here;
          sums[k][v].weighted += g_here * normal;
        }
      }
    });
    sum = team_reduce(sum, scratch, AddPairs());
    const Real level = RMS ? Real(0) : sum.plain / columns, slope = sum.weighted / columns;
    both.each([&](int at, const Pack(&part)[2], int) {
      const Parameters w(weight, at, 1);
      Pack gx;
#pragma unroll
      for (int v = 0; v < VECTOR; v++) {
        const Real normal = (Real(part[1].at[v]) - centre) * scale;
        gx.at[v] = convert<TYPE>(scale * (Real(part[0].at[v]) * w.at[v] - level - normal * slope));
      }
      store_part(out + row * columns, at, columns, gx);
    });
  }
  if constexpr (KEEP > 0) {
    if (partials) write_partials(partials, sums, columns, shared);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    layer_norm_backward(TYPE* out, void* partials, const TYPE* g, const TYPE* x, const PARAMETER* weight,
                        const void* mean, const void* rstd, long long rows, int columns) {
  __shared__ Pair scratch[THREADS / 32], shared[TEAMS > 1 ? KEPT * STEP : 1];
  backward<false>(out, static_cast<Real*>(partials), g, x, weight, static_cast<const Real*>(mean),
                  static_cast<const Real*>(rstd), rows, columns, scratch, shared);
}
EXPORT_KERNEL(layer_norm_backward)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    rms_norm_backward(TYPE* out, void* partials, const TYPE* g, const TYPE* x, const PARAMETER* weight,
                      const void* rstd, long long rows, int columns) {
  __shared__ Pair scratch[THREADS / 32], shared[TEAMS > 1 ? KEPT * STEP : 1];
  backward<true>(out, static_cast<Real*>(partials), g, x, weight, nullptr, static_cast<const Real*>(rstd), rows,
                 columns, scratch, shared);
}
EXPORT_KERNEL(rms_norm_backward)

constexpr int ACROSS = 32, LINES = 8, BLOCK = ACROSS * LINES;

// The sum of `value` over the lines of a block, for line 0, in the order of lines.
DEVICE_INLINE Pair join_lines(Pair value, Pair* scratch) {
  __syncthreads();  // what the call before left there is read
  scratch[threadIdx.x] = value;
  __syncthreads();
  for (int l = 1; l < LINES && threadIdx.x < ACROSS; l++) value = AddPairs()(value, scratch[l * ACROSS + threadIdx.x]);
  return value;
}

// Rows too long for registers: partials (2, parts, columns) by 32 neighbouring vectors times 8 lines that walk down the
// rows of one part. mean: null for RMS norm.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    norm_partials(void* partials, const TYPE* g, const TYPE* x, const void* mean, const void* rstd, long long rows,
                  int columns) {
  __shared__ Pair scratch[BLOCK];
  const int lane = threadIdx.x % ACROSS, line = threadIdx.x / ACROSS;
  const int column = (int(blockIdx.x) * ACROSS + lane) * VECTOR;
  const long long part = (rows + gridDim.y - 1) / gridDim.y, start = part * blockIdx.y;
  const long long end = column >= columns ? 0 : start + part < rows ? start + part : rows;
  const Real* const means = static_cast<const Real*>(mean);
  Pair sums[VECTOR];
#pragma unroll
  for (int v = 0; v < VECTOR; v++) sums[v] = {0, 0};
#pragma unroll 4
  for (long long row = start + line; row < end; row += LINES) {
    const Pack a = *reinterpret_cast<const Pack*>(g + row * columns + column);
    const Pack b = *reinterpret_cast<const Pack*>(x + row * columns + column);
    const Real centre = means ? means[row] : Real(0), scale = static_cast<const Real*>(rstd)[row];
#pragma unroll
    for (int v = 0; v < VECTOR; v++) {
      sums[v].plain += Real(a.at[v]);
      sums[v].weighted += Real(a.at[v]) * ((Real(b.at[v]) - centre) * scale);
    }
  }
  Real* const weight = static_cast<Real*>(partials) + blockIdx.y * (long long)(columns);
  Real* const bias = weight + gridDim.y * (long long)(columns);
#pragma unroll
  for (int v = 0; v < VECTOR; v++) {
    const Pair sum = join_lines(sums[v], scratch);
    if (line == 0 && column < columns) weight[column + v] = sum.weighted, bias[column + v] = sum.plain;
  }
}
EXPORT_KERNEL(norm_partials)

// The gradients of weight and bias (columns), either may be null, from partials (2, parts, columns).
extern "C" __global__ void __launch_bounds__(BLOCK)
    norm_parameters(PARAMETER* weight, PARAMETER* bias, const void* partials, int parts, int columns) {
  __shared__ Pair scratch[BLOCK];
  const int column = int(blockIdx.x) * ACROSS + threadIdx.x % ACROSS;
  const Real* const weights = static_cast<const Real*>(partials);
  const Real* const biases = weights + parts * (long long)(columns);
  Pair sum = {0, 0};
#pragma unroll 4
  for (int p = threadIdx.x / ACROSS; p < parts && column < columns; p += LINES) {
    const long long at = p * (long long)(columns) + column;
    sum.plain += biases[at];
    if (weight) sum.weighted += weights[at];
  }
  sum = join_lines(sum, scratch);
  if (threadIdx.x < ACROSS && column < columns) {
    if (weight) weight[column] = convert<PARAMETER>(sum.weighted);
    if (bias) bias[column] = convert<PARAMETER>(sum.plain);
  }
}
EXPORT_KERNEL(norm_parameters)
