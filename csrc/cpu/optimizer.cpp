#include "optimizer.h"

#include <algorithm>

#include "pool.h"

#define WEFT_KERNELS "optimizer.inc"
#include "each_isa.h"

namespace weft {

namespace {

// f(k, begin, end) for ranges of the elements of every parameter k, shared among the threads wherever they are.
template <class F>
void each_range(const std::vector<long>& starts, F&& f) {
  const long tensors = long(starts.size()) - 1, total = starts.back();
  parallel_ranges(total, 8192, [&](long a, long b) {
    long k = std::upper_bound(starts.begin(), starts.end(), a) - starts.begin() - 1;
    for (; k < tensors && starts[size_t(k)] < b; k++) {
      long start = starts[size_t(k)], end = std::min(starts[size_t(k) + 1], b);
      if (end > std::max(start, a)) f(size_t(k), std::max(start, a) - start, end - start);
    }
  });
}

float* state(const Tensors& t, int which, size_t k) { return t.states[which].empty() ? nullptr : t.states[which][k]; }

}  // namespace

void sgd(const Tensors& t, const Sgd& s) {
  each_range(t.starts, [&](size_t k, long a, long b) {
    WEFT_DISPATCH(sgd_part, s, t.params[k], t.grads[k], state(t, 0, k), a, b);
  });
}

void adam(const Tensors& t, const Adam& s) {
  each_range(t.starts, [&](size_t k, long a, long b) {
    WEFT_DISPATCH(adam_part, s, t.params[k], t.grads[k], state(t, 0, k), state(t, 1, k), state(t, 2, k), a, b);
  });
}

void rmsprop(const Tensors& t, const RmsProp& s) {
  each_range(t.starts, [&](size_t k, long a, long b) {
    WEFT_DISPATCH(rmsprop_part, s, t.params[k], t.grads[k], state(t, 0, k), state(t, 1, k), state(t, 2, k), a, b);
  });
}

void lion(const Tensors& t, const Lion& s) {
  each_range(t.starts, [&](size_t k, long a, long b) {
    WEFT_DISPATCH(lion_part, s, t.params[k], t.grads[k], state(t, 0, k), a, b);
  });
}

double sum_of_squares(const std::vector<const float*>& arrays, const std::vector<long>& sizes) {
  constexpr long piece = 4096;  // fixed pieces, so that the order of additions is fixed
  std::vector<long> starts{0};  // of the pieces of each array
  for (long n : sizes) starts.push_back(starts.back() + (n + piece - 1) / piece);
  std::vector<double> parts(size_t(starts.back()));
  parallel_ranges(starts.back(), 8, [&](long a, long b) {
    for (long i = a; i < b; i++) {
      auto k = size_t(std::upper_bound(starts.begin(), starts.end(), i) - starts.begin() - 1);
      long begin = (i - starts[k]) * piece;
      parts[size_t(i)] = WEFT_DISPATCH(squares_part, arrays[k] + begin, std::min(piece, sizes[k] - begin));
    }
  });
  double sum = 0;
  for (double part : parts) sum += part;
  return sum;
}

}  // namespace weft
