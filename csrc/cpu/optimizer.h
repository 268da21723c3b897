// Optimizer steps over a list of arrays in one pass, and the sum of squares of a list. Element formulas are PyTorch's.
#pragma once
#include <vector>

namespace weft {

// The arrays that one step walks through together: column k of every table is one parameter and its state.
struct Tensors {
  std::vector<float*> params;
  std::vector<const float*> grads;
  std::vector<float*> states[3];  // as many as the step has, in its order; the others are empty
  std::vector<long> starts;       // first element of each parameter in the flat order, then the total
};

struct Sgd {
  float lr, momentum, dampening, weight_decay;
  bool nesterov, maximize, first;  // first: the momentum buffers hold nothing yet
};
struct Adam {
  float rate, beta1, beta2, eps, weight_decay, keep;  // rate: lr / (1 - beta1^t); keep: 1 - lr * decay where decoupled
  float inverse_root;                                 // 1 / sqrt(1 - beta2^t)
  float one_minus_beta1, one_minus_beta2;             // rounded once, from doubles
  bool amsgrad, maximize;
};
struct RmsProp {
  float lr, alpha, one_minus_alpha, eps, weight_decay, momentum;
  bool centered, maximize;
};
struct Lion {
  float lr, beta1, beta2, one_minus_beta1, one_minus_beta2, keep;  // keep: 1 - lr * decay
  bool maximize;
};

void sgd(const Tensors& t, const Sgd& s);          // states: momentum buffers, or none
void adam(const Tensors& t, const Adam& s);        // states: m, v, and the largest v with amsgrad
void rmsprop(const Tensors& t, const RmsProp& s);  // states: squares, averages if centered, momentum buffers or none
void lion(const Tensors& t, const Lion& s);        // states: m

// In float64, in an order that does not depend on the threads.
double sum_of_squares(const std::vector<const float*>& arrays, const std::vector<long>& sizes);

}  // namespace weft
