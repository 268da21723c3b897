// Optimizer steps: lists of arrays become tables of pointers.
#include <cmath>

#include "arrays.h"
#include "optimizer.h"

namespace weft {
namespace {

constexpr long unlock_elements = 16384;

// Whether `item` is a float32 C-contiguous ndarray (writeable too where it is to be written), and its data.
bool plain(py::handle item, bool write, const float*& data, long& size) {
  if (!py::isinstance<py::array>(item)) return false;
  auto a = py::reinterpret_borrow<py::array>(item);
  int flags = py::detail::npy_api::NPY_ARRAY_ALIGNED_ | py::array::c_style;
  if (write) flags |= py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  if ((a.flags() & flags) != flags || !is_float32(a)) return false;
  data = static_cast<const float*>(a.data());
  size = long(a.size());
  return true;
}

// The tables of one step, or false where an array is not float32, contiguous and of its parameter's size: the reference
// takes those.
bool collect(Tensors& t, const py::list& params, const py::list& grads, std::initializer_list<const py::list*> states) {
  size_t n = params.size();
  if (grads.size() != n) throw py::value_error("optimizer: expected as many gradients as parameters");
  t.starts.reserve(n + 1);
  t.starts.push_back(0);
  const float* data = nullptr;
  long size = 0;
  for (size_t k = 0; k < n; k++) {
    if (!plain(params[k], true, data, size)) return false;
    t.params.push_back(const_cast<float*>(data));
    t.starts.push_back(t.starts.back() + size);
    long of_grad = 0;
    if (!plain(grads[k], false, data, of_grad) || of_grad != size) return false;
    t.grads.push_back(data);
  }
  int which = 0;
  for (const py::list* state : states) {
    auto& table = t.states[which++];
    if (!state) continue;
    if (state->size() != n) throw py::value_error("optimizer: expected a state for each parameter");
    for (size_t k = 0; k < n; k++) {
      if (!plain((*state)[k], true, data, size) || size != t.starts[k + 1] - t.starts[k]) return false;
      table.push_back(const_cast<float*>(data));
    }
  }
  return true;
}

bool worth_unlocking(const Tensors& t) { return t.starts.back() > unlock_elements; }

bool sgd_of(const py::list& params, const py::list& grads, const py::list& buffers, double lr, double momentum,
            double dampening, double weight_decay, bool nesterov, bool maximize, bool first) {
  Tensors t;
  if (!collect(t, params, grads, {momentum != 0 ? &buffers : nullptr})) return false;
  Unlocked others(worth_unlocking(t));
  sgd(t, {float(lr), float(momentum), float(dampening), float(weight_decay), nesterov, maximize, first});
  return true;
}

bool adam_of(const py::list& params, const py::list& grads, const py::list& m, const py::list& v, const py::list& vmax,
             double lr, double beta1, double beta2, double eps, double weight_decay, bool decoupled, long step,
             bool amsgrad, bool maximize) {
  Tensors t;
  if (!collect(t, params, grads, {&m, &v, amsgrad ? &vmax : nullptr})) return false;
  Adam s;
  s.rate = float(lr / (1 - std::pow(beta1, double(step))));
  s.beta1 = float(beta1), s.beta2 = float(beta2), s.eps = float(eps);
  s.weight_decay = decoupled ? 0.f : float(weight_decay);
  s.keep = decoupled ? float(1 - lr * weight_decay) : 1.f;
  s.inverse_root = float(1 / std::sqrt(1 - std::pow(beta2, double(step))));
  s.one_minus_beta1 = float(1 - beta1), s.one_minus_beta2 = float(1 - beta2);
  s.amsgrad = amsgrad, s.maximize = maximize;
  Unlocked others(worth_unlocking(t));
  adam(t, s);
  return true;
}

bool rmsprop_of(const py::list& params, const py::list& grads, const py::list& sq, const py::list& avg,
                const py::list& buf, double lr, double alpha, double eps, double weight_decay, double momentum,
                bool centered, bool maximize) {
  Tensors t;
  if (!collect(t, params, grads, {&sq, centered ? &avg : nullptr, momentum != 0 ? &buf : nullptr})) return false;
  Unlocked others(worth_unlocking(t));
  rmsprop(t, {float(lr), float(alpha), float(1 - alpha), float(eps), float(weight_decay), float(momentum), centered,
              maximize});
  return true;
}

bool lion_of(const py::list& params, const py::list& grads, const py::list& m, double lr, double beta1, double beta2,
             double weight_decay, bool maximize) {
  Tensors t;
  if (!collect(t, params, grads, {&m})) return false;
  Unlocked others(worth_unlocking(t));
  lion(t, {float(lr), float(beta1), float(beta2), float(1 - beta1), float(1 - beta2), float(1 - lr * weight_decay),
           maximize});
  return true;
}

// The sum, or None where an array is not plain.
py::object sum_of_squares_of(const py::list& arrays) {
  std::vector<const float*> data(arrays.size());
  std::vector<long> sizes(arrays.size());
  long total = 0;
  for (size_t k = 0; k < arrays.size(); k++) {
    if (!plain(arrays[k], false, data[k], sizes[k])) return py::none();
    total += sizes[k];
  }
  double sum;
  {
    Unlocked others(total > unlock_elements);
    sum = sum_of_squares(data, sizes);
  }
  return py::float_(sum);
}

}  // namespace

void bind_optimizer(py::module_& m) {
  m.def("sgd", &sgd_of, "One SGD step in place; False, with nothing written, where an array is not plain float32.");
  m.def("adam", &adam_of, "One Adam step in place; False, with nothing written, where an array is not plain float32.");
  m.def("rmsprop", &rmsprop_of, "One RMSprop step in place; False, with nothing written, where an array is not plain.");
  m.def("lion", &lion_of, "One Lion step in place; False, with nothing written, where an array is not plain float32.");
  m.def("sum_of_squares", &sum_of_squares_of, "The sum of all squares in float64; None where an array is not plain.");
}

}  // namespace weft
