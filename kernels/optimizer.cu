// Optimizer steps over all parameters at once, their gradients' sum of squares, and their scaling: every element of
// every tensor is read once and written once. The formulas are those of
// python/weft/backends/reference/optimizer.py.
//
// A block takes CHUNK elements of one tensor, which it finds in a table: the kernel's parameter, or one of more of them
// in memory. What a step may not know yet when it is enqueued (learning rate, factor of the gradients, number of the
// step, whether it is skipped) is read through pointers; where one is null, the number beside it counts.
//
// A launch goes to the device of its arrays; those in a table cannot tell, so the first parameter is `any` one of them.
//
// Defines:
//   PARAM, GRAD   element types of parameters and gradients;   STATE   float, or double where PARAM is
//   TENSORS       most tensors of a launch
#include "common.cuh"

// One block per multiprocessor is asked for: left to itself, ptxas keeps to few registers and spills.
constexpr int THREADS = 256, CHUNK = 4096, ARRAYS = 6;
constexpr int MASTER = 5;  // the column of float32 copies of 16-bit parameters

// Column a of `at` are the arrays of one role: 0 the parameters, 1 their gradients, 2 to 4 states, MASTER. Null: none.
struct Tensors {
  void* at[ARRAYS][TENSORS];
  long long spans[TENSORS];  // elements, times two; plus 1 where every array begins at a multiple of 16 bytes
  int first[TENSORS];        // block of each tensor
  int count;
};

// What the threads of a block walk over: elements [begin, end) of the arrays of one tensor.
struct Part {
  void* at[ARRAYS];
  bool vectors;
  long long begin, end;
};

// The last of `count` numbers, in ascending order at `first`, that is not above `block`.
template <class First>
DEVICE_INLINE int last_before(int block, int count, First first) {
  int low = 0, high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (first(middle) <= block)
      low = middle;
    else
      high = middle;
  }
  return low;
}

DEVICE_INLINE Part part_in(const Tensors& tensors, int block) {
  const int tensor = last_before(block, tensors.count, [&](int k) { return tensors.first[k]; });
  const long long span = tensors.spans[tensor], size = span >> 1;
  const long long begin = (long long)(block - tensors.first[tensor]) * CHUNK;
  Part part = {{}, (span & 1) != 0, begin, begin + CHUNK < size ? begin + CHUNK : size};
#pragma unroll
  for (int a = 0; a < ARRAYS; a++) part.at[a] = tensors.at[a][tensor];
  return part;
}

// Tensors that the table in the parameters has no room for stand in `tables` more, in memory.
DEVICE_INLINE Part part_of(const Tensors& tensors, const Tensors* more, int tables) {
  const int block = int(blockIdx.x);
  if (tables == 0 || block < more[0].first[0]) return part_in(tensors, block);
  return part_in(more[last_before(block, tables, [&](int k) { return more[k].first[0]; })], block);
}

// f<N>(i) for the elements that this thread takes of a part, N neighbours at a time.
template <int N, class F>
DEVICE_INLINE void each(const Part& part, F f) {
  const int thread = int(threadIdx.x);
  if (part.vectors) {
    const long long whole = part.begin + (part.end - part.begin) / N * N;
#pragma unroll 1
    for (long long i = part.begin + thread * N; i < whole; i += THREADS * N) f.template at<N>(i);
    if (whole + thread < part.end) f.template at<1>(whole + thread);
  } else {
#pragma unroll 1
    for (long long i = part.begin + thread; i < part.end; i += THREADS) f.template at<1>(i);
  }
}

template <class T>
constexpr int VECTOR = sizeof(T) >= 4 ? 16 / sizeof(T) : 8;

// -- steps. A rule has
//   STATES                           how many arrays of state it may have
//   prepare(lr, step)                what all elements share; step: null where the rule knows its number
//   move(w, g, state, has)           the element w after the step, with the gradient g; writes the states that it has

struct Numbers {  // of every step; python/weft/backends/gpu/optimizer.py packs them
  STATE lr, scale, weight_decay;
  int maximize;
};

struct Sgd {
  static constexpr int STATES = 1;
  STATE momentum, dampening;
  int nesterov, first;

  DEVICE_INLINE void prepare(STATE& lr, STATE& decay, const int* step) {
    if (step && *step == 1) first = 1;
  }
  DEVICE_INLINE STATE move(STATE w, STATE g, STATE lr, STATE decay, STATE* state, const bool* has) const {
    g += decay * w;
    if (!has[0]) return w - lr * g;
    state[0] = first ? g : momentum * state[0] + (STATE(1) - dampening) * g;
    return w - lr * (nesterov ? g + momentum * state[0] : state[0]);
  }
};

// The sum of the weights beta^0 (1 - beta) + ... of a running mean after `step` steps; log_beta: the logarithm of beta.
DEVICE_INLINE STATE correction(STATE log_beta, int step) { return -expm1(STATE(step) * log_beta); }

struct Adam {
  static constexpr int STATES = 3;
  STATE one_minus_beta1, beta2, one_minus_beta2, eps;
  STATE correction1, correction2;  // 1 - beta^step; where the step is read on the device, the logarithms of the betas
  int decoupled, amsgrad;

  DEVICE_INLINE void prepare(STATE& lr, STATE& decay, const int* step) {
    if (step) {
      correction1 = correction(correction1, *step);
      correction2 = correction(correction2, *step);
    }
    keep = decoupled ? STATE(1) - lr * decay : STATE(1);
    if (decoupled) decay = 0;
    lr /= correction1;
    inverse_root = STATE(1) / sqrt(correction2);
  }
  DEVICE_INLINE STATE move(STATE w, STATE g, STATE lr, STATE decay, STATE* state, const bool* has) const {
    g += decay * w;
    state[0] += one_minus_beta1 * (g - state[0]);
    state[1] = beta2 * state[1] + one_minus_beta2 * g * g;
    STATE second = state[1];
    if (has[2]) second = state[2] = second > state[2] || second != second ? second : state[2];
    return keep * w - lr * state[0] / (sqrt(second) * inverse_root + eps);
  }
  STATE keep, inverse_root;  // filled in by prepare
};

struct RmsProp {
  static constexpr int STATES = 3;
  STATE alpha, one_minus_alpha, eps, momentum;

  DEVICE_INLINE void prepare(STATE& lr, STATE& decay, const int* step) {}
  DEVICE_INLINE STATE move(STATE w, STATE g, STATE lr, STATE decay, STATE* state, const bool* has) const {
    g += decay * w;
    STATE second = state[0] = alpha * state[0] + one_minus_alpha * g * g;
    if (has[1]) {
      state[1] += one_minus_alpha * (g - state[1]);
      second -= state[1] * state[1];
    }
    STATE step = g / (sqrt(second) + eps);
    if (has[2]) step = state[2] = momentum * state[2] + step;
    return w - lr * step;
  }
};

struct Lion {
  static constexpr int STATES = 1;
  STATE beta1, one_minus_beta1, beta2, one_minus_beta2;

  DEVICE_INLINE void prepare(STATE& lr, STATE& decay, const int* step) {}
  DEVICE_INLINE STATE move(STATE w, STATE g, STATE lr, STATE decay, STATE* state, const bool* has) const {
    const STATE mean = beta1 * state[0] + one_minus_beta1 * g;
    const STATE direction = mean > STATE(0)   ? STATE(1)
                            : mean < STATE(0) ? STATE(-1)
                                              : mean;  // of 0 it is 0, of NaN NaN
    state[0] = beta2 * state[0] + one_minus_beta2 * g;
    return (STATE(1) - lr * decay) * w - lr * direction;
  }
};

// Whether p is what `wide` rounds to.
template <class T>
DEVICE_INLINE bool is_rounded(STATE wide, T p) {
  if constexpr (is_16_bit<T>) return T(wide).bits == p.bits;
  return false;
}

template <class Rule>
struct Update {
  const Rule& rule;
  PARAM* params;
  const GRAD* grads;
  STATE* states[Rule::STATES];
  STATE* masters;
  STATE lr, scale, decay;

  template <int N>
  DEVICE_INLINE void at(long long i) const {
    using Params = Vector<PARAM, N>;
    using Wides = Vector<STATE, N>;
    Params p = *reinterpret_cast<const Params*>(params + i);
    const Vector<GRAD, N> g = *reinterpret_cast<const Vector<GRAD, N>*>(grads + i);
    Wides s[Rule::STATES] = {}, w = {};
    bool has[Rule::STATES];
#pragma unroll
    for (int k = 0; k < Rule::STATES; k++) {
      has[k] = states[k] != nullptr;
      if (has[k]) s[k] = *reinterpret_cast<const Wides*>(in_global(states[k]) + i);
    }
    bool copies = false;
    if constexpr (is_16_bit<PARAM>) copies = masters != nullptr;
    if (copies) w = *reinterpret_cast<const Wides*>(in_global(masters) + i);
#pragma unroll
    for (int v = 0; v < N; v++) {
      STATE start = convert<STATE>(p.at[v]);
      // A parameter that is not its rounded copy has been written by another: the copy starts again from it.
      if (copies && is_rounded(w.at[v], p.at[v])) start = w.at[v];
      STATE mine[Rule::STATES];
#pragma unroll
      for (int k = 0; k < Rule::STATES; k++) mine[k] = s[k].at[v];
      w.at[v] = rule.move(start, convert<STATE>(g.at[v]) * scale, lr, decay, mine, has);
      p.at[v] = convert<PARAM>(w.at[v]);
#pragma unroll
      for (int k = 0; k < Rule::STATES; k++) s[k].at[v] = mine[k];
    }
#pragma unroll
    for (int k = 0; k < Rule::STATES; k++)
      if (has[k]) *reinterpret_cast<Wides*>(in_global(states[k]) + i) = s[k];
    if (copies) *reinterpret_cast<Wides*>(in_global(masters) + i) = w;
    *reinterpret_cast<Params*>(params + i) = p;
  }
};

template <class Rule>
DEVICE_INLINE void step_of(const Tensors& tensors, const Tensors* more, int tables, const Numbers& numbers, Rule rule,
                           const float* lr, const float* scale, const int* step, const int* skip) {
  if (skip && *skip) return;
  const Part part = part_of(tensors, more, tables);
  Update<Rule> update = {rule};
  update.params = in_global(static_cast<PARAM*>(part.at[0]));
  update.grads = in_global(static_cast<const GRAD*>(part.at[1]));
#pragma unroll
  for (int k = 0; k < Rule::STATES; k++) update.states[k] = static_cast<STATE*>(part.at[2 + k]);
  update.masters = static_cast<STATE*>(part.at[MASTER]);
  update.lr = lr ? STATE(*lr) : numbers.lr;
  update.decay = numbers.weight_decay;
  update.scale = (scale ? STATE(*scale) : STATE(1)) * numbers.scale;
  if (numbers.maximize) update.scale = -update.scale;
  rule.prepare(update.lr, update.decay, step);
  each<VECTOR<PARAM>>(part, update);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    sgd(const void* any, const __grid_constant__ Tensors tensors, const Tensors* more, int tables,
        const __grid_constant__ Numbers numbers, const Sgd rule, const float* lr, const float* scale, const int* step,
        const int* skip) {
  step_of(tensors, more, tables, numbers, rule, lr, scale, step, skip);
}
EXPORT_KERNEL(sgd)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    adam(const void* any, const __grid_constant__ Tensors tensors, const Tensors* more, int tables,
         const __grid_constant__ Numbers numbers, const Adam rule, const float* lr, const float* scale, const int* step,
         const int* skip) {
  step_of(tensors, more, tables, numbers, rule, lr, scale, step, skip);
}
EXPORT_KERNEL(adam)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    rmsprop(const void* any, const __grid_constant__ Tensors tensors, const Tensors* more, int tables,
            const __grid_constant__ Numbers numbers, const RmsProp rule, const float* lr, const float* scale,
            const int* step, const int* skip) {
  step_of(tensors, more, tables, numbers, rule, lr, scale, step, skip);
}
EXPORT_KERNEL(rmsprop)

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    lion(const void* any, const __grid_constant__ Tensors tensors, const Tensors* more, int tables,
         const __grid_constant__ Numbers numbers, const Lion rule, const float* lr, const float* scale, const int* step,
         const int* skip) {
  step_of(tensors, more, tables, numbers, rule, lr, scale, step, skip);
}
EXPORT_KERNEL(lion)

// Keeps a table in memory.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    keep_table(Tensors* table, const __grid_constant__ Tensors tensors) {
  constexpr int WORDS = sizeof(Tensors) / 8;
  for (int i = threadIdx.x; i < WORDS; i += THREADS)
    reinterpret_cast<uint64_t*>(table)[i] = reinterpret_cast<const uint64_t*>(&tensors)[i];
}
EXPORT_KERNEL(keep_table)

extern "C" __global__ void count_step(int* step, const int* skip) {
  if (!skip || !*skip) ++*step;
}
EXPORT_KERNEL(count_step)

// -- gradients, column 0 of the table

struct Squares {
  const GRAD* x;
  double* sum;

  template <int N>
  DEVICE_INLINE void at(long long i) const {
    const Vector<GRAD, N> values = *reinterpret_cast<const Vector<GRAD, N>*>(x + i);
#pragma unroll
    for (int v = 0; v < N; v++) *sum += convert<double>(values.at[v]) * convert<double>(values.at[v]);
  }
};

// sums[block] = the sum of the squares of the block's elements
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    squares(const void* any, const __grid_constant__ Tensors tensors, const Tensors* more, int tables, double* sums) {
  __shared__ double scratch[THREADS / 32];
  const Part part = part_of(tensors, more, tables);
  double sum = 0;
  each<VECTOR<GRAD>>(part, Squares{in_global(static_cast<const GRAD*>(part.at[0])), &sum});
  sum = block_reduce<THREADS>(sum, scratch, 0.0, [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
EXPORT_KERNEL(squares)

struct Scaling {
  GRAD* x;
  STATE factor;

  template <int N>
  DEVICE_INLINE void at(long long i) const {
    Vector<GRAD, N> values = *reinterpret_cast<const Vector<GRAD, N>*>(x + i);
#pragma unroll
    for (int v = 0; v < N; v++) values.at[v] = convert<GRAD>(convert<STATE>(values.at[v]) * factor);
    *reinterpret_cast<Vector<GRAD, N>*>(x + i) = values;
  }
};

// x *= factor; factor: of float64 where `wide`, else float32
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    scale(const void* any, const __grid_constant__ Tensors tensors, const Tensors* more, int tables,
          const void* factor_at, int wide, double factor) {
  if (factor_at) factor = wide ? *static_cast<const double*>(factor_at) : double(*static_cast<const float*>(factor_at));
  if (factor == 1.0) return;
  const Part part = part_of(tensors, more, tables);
  each<VECTOR<GRAD>>(part, Scaling{in_global(static_cast<GRAD*>(part.at[0])), STATE(factor)});
}
EXPORT_KERNEL(scale)

// The norm of gradients whose squares sum to *squares, the factor that undoes the scale of their loss and takes the
// norm to max_norm where it is larger (negative: never), and whether to skip the step as the sum is not finite.
extern "C" __global__ void gradient_scale(float* norm, float* factor, int* skip, const double* squares,
                                          const float* loss_scale, double max_norm) {
  const double inverse = loss_scale ? 1.0 / double(*loss_scale) : 1.0, size = sqrt(*squares) * inverse;
  double most = 1.0;
  if (max_norm >= 0.0 && !(max_norm / (size + 1e-6) >= 1.0)) most = max_norm / (size + 1e-6);  // NaN stays NaN
  *norm = float(size);
  *factor = float(most * inverse);
  *skip = !(*squares - *squares == 0.0);
}
EXPORT_KERNEL(gradient_scale)
