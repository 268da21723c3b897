// Softmax, losses, norms and activations: shapes on this side, rows of plain pointers on the other.
#include <algorithm>
#include <cmath>

#include "activation.h"
#include "contiguous.h"
#include "loss.h"
#include "norm.h"
#include "softmax.h"

namespace weft {
namespace {

constexpr long unlock_size = 16384;  // elements; about 20 us of a row kernel

void same_shape(const py::array& a, const py::array& b, const char* op) {
  bool same = a.ndim() == b.ndim();
  for (py::ssize_t i = 0; same && i < a.ndim(); i++) same = a.shape(i) == b.shape(i);
  if (!same)
    throw py::value_error(std::string(op) + ": expected arrays of one shape, got " + shape_text(a) + " and " +
                          shape_text(b));
}

// Optional (size,) arrays; `kept` holds a contiguous copy.
const float* vector_or_null(const py::object& a, long size, const char* name, py::array& kept) {
  if (a.is_none()) return nullptr;
  kept = contiguous(py::reinterpret_borrow<py::array>(a), name);
  if (kept.size() != size)
    throw py::value_error(std::string(name) + ": expected " + std::to_string(size) + " values, got " +
                          shape_text(kept));
  return pointer(kept);
}

struct Axis {
  long outer = 1, n = 1, inner = 1;
  Axis(const py::array& a, long axis, const char* op) {
    long ndim = long(a.ndim()), at = axis < 0 ? axis + ndim : axis;
    if (at < 0 || at >= ndim)
      throw py::value_error(std::string(op) + ": expected an axis of " + shape_text(a) + ", got " +
                            std::to_string(axis));
    for (long i = 0; i < at; i++) outer *= a.shape(i);
    n = a.shape(at);
    for (long i = at + 1; i < ndim; i++) inner *= a.shape(i);
  }
};

template <bool log>
py::array softmax_of(const py::array& x_in, long axis) {
  py::array x = contiguous(x_in, "softmax"), y = new_like(x);
  Axis at(x, axis, "softmax");
  if (!x.size()) return y;
  float* to = pointer_out(y);
  Unlocked others(x.size() > unlock_size);
  softmax(pointer(x), to, at.outer, at.n, at.inner, log);
  return y;
}

template <bool log>
py::array softmax_backward_of(const py::array& g_in, const py::array& y_in, long axis) {
  py::array g = contiguous(g_in, "softmax_backward: g"), y = contiguous(y_in, "softmax_backward: y"), gx = new_like(y);
  same_shape(g, y, "softmax_backward");
  Axis at(y, axis, "softmax_backward");
  if (!y.size()) return gx;
  float* to = pointer_out(gx);
  Unlocked others(y.size() > unlock_size);
  softmax_backward(pointer(g), pointer(y), to, at.outer, at.n, at.inner, log);
  return gx;
}

// -- norms ----------------------------------------------------------------------------------------------------------

struct Rows {  // x (..., C) as rows, and the shape (..., 1) of their statistics
  long rows, C;
  Shape statistics;
  Rows(const py::array& x, const char* op) : rows(1), C(0), statistics(x.shape(), x.shape() + x.ndim()) {
    if (!x.ndim()) throw py::value_error(std::string(op) + ": expected at least one axis, got a 0-d array");
    C = x.shape(x.ndim() - 1);
    statistics.back() = 1;
    for (py::ssize_t n : statistics) rows *= n;
  }
};

void zero(py::array& a) { std::fill_n(pointer_out(a), a.size(), 0.f); }

py::tuple layer_norm_of(const py::array& x_in, const py::object& weight, const py::object& bias, double eps) {
  py::array x = contiguous(x_in, "layer_norm: x"), kept_w, kept_b;
  Rows of(x, "layer_norm");
  const float* w = vector_or_null(weight, of.C, "layer_norm: weight", kept_w);
  const float* b = vector_or_null(bias, of.C, "layer_norm: bias", kept_b);
  py::array out = new_like(x), mean = empty(of.statistics), rstd = empty(of.statistics);
  float *to = pointer_out(out), *m = pointer_out(mean), *s = pointer_out(rstd);
  {
    Unlocked others(x.size() > unlock_size);
    if (of.C)
      layer_norm(pointer(x), w, b, to, m, s, of.rows, of.C, float(eps));
    else
      for (long r = 0; r < of.rows; r++) m[r] = 0.f, s[r] = 1.f / std::sqrt(float(eps));
  }
  return py::make_tuple(std::move(out), std::move(mean), std::move(rstd));
}

py::tuple layer_norm_backward_of(const py::array& g_in, const py::array& x_in, const py::object& weight,
                                 const py::array& mean_in, const py::array& rstd_in, bool spare) {
  py::array g = contiguous(g_in, "layer_norm_backward: g"), x = contiguous(x_in, "layer_norm_backward: x");
  py::array mean = contiguous(mean_in, "layer_norm_backward: mean"), kept;
  py::array rstd = contiguous(rstd_in, "layer_norm_backward: rstd");
  same_shape(g, x, "layer_norm_backward");
  Rows of(x, "layer_norm_backward");
  const float* w = vector_or_null(weight, of.C, "layer_norm_backward: weight", kept);
  if (mean.size() != of.rows || rstd.size() != of.rows)
    throw py::value_error("layer_norm_backward: expected a mean and rstd for each row of " + shape_text(x) + ", got " +
                          shape_text(mean) + " and " + shape_text(rstd));
  py::array gx = gradient_like(g, spare), gb = empty({of.C}), gw;
  py::object gw_or_none = py::none();
  if (w) gw_or_none = gw = empty({of.C});
  if (!x.size()) {
    zero(gb);
    if (w) zero(gw);
  } else {
    float *to = pointer_out(gx), *to_b = pointer_out(gb), *to_w = w ? pointer_out(gw) : nullptr;
    Unlocked others(x.size() > unlock_size);
    layer_norm_backward(pointer(g), pointer(x), w, pointer(mean), pointer(rstd), to, to_w, to_b, of.rows, of.C);
  }
  return py::make_tuple(std::move(gx), std::move(gw_or_none), std::move(gb));
}

py::tuple rms_norm_of(const py::array& x_in, const py::object& weight, double eps) {
  py::array x = contiguous(x_in, "rms_norm: x"), kept;
  Rows of(x, "rms_norm");
  const float* w = vector_or_null(weight, of.C, "rms_norm: weight", kept);
  py::array out = new_like(x), rstd = empty(of.statistics);
  float *to = pointer_out(out), *s = pointer_out(rstd);
  {
    Unlocked others(x.size() > unlock_size);
    if (of.C)
      rms_norm(pointer(x), w, to, s, of.rows, of.C, float(eps));
    else
      for (long r = 0; r < of.rows; r++) s[r] = 1.f / std::sqrt(float(eps));
  }
  return py::make_tuple(std::move(out), std::move(rstd));
}

py::tuple rms_norm_backward_of(const py::array& g_in, const py::array& x_in, const py::object& weight,
                               const py::array& rstd_in, bool spare) {
  py::array g = contiguous(g_in, "rms_norm_backward: g"), x = contiguous(x_in, "rms_norm_backward: x"), kept;
  py::array rstd = contiguous(rstd_in, "rms_norm_backward: rstd");
  same_shape(g, x, "rms_norm_backward");
  Rows of(x, "rms_norm_backward");
  const float* w = vector_or_null(weight, of.C, "rms_norm_backward: weight", kept);
  if (rstd.size() != of.rows)
    throw py::value_error("rms_norm_backward: expected an rstd for each row of " + shape_text(x) + ", got " +
                          shape_text(rstd));
  py::array gx = gradient_like(g, spare), gw;
  py::object gw_or_none = py::none();
  if (w) gw_or_none = gw = empty({of.C});
  if (!x.size()) {
    if (w) zero(gw);
  } else {
    float *to = pointer_out(gx), *to_w = w ? pointer_out(gw) : nullptr;
    Unlocked others(x.size() > unlock_size);
    rms_norm_backward(pointer(g), pointer(x), w, pointer(rstd), to, to_w, of.rows, of.C);
  }
  return py::make_tuple(std::move(gx), std::move(gw_or_none));
}

// -- cross-entropy --------------------------------------------------------------------------------------------------

// `a` as C-contiguous int64.
py::array integers(const py::array& a) {
  char kind = a.dtype().kind();
  if (kind != 'i' && kind != 'u')
    throw py::type_error("cross_entropy: expected integer labels, got " + py::str(a.dtype()).cast<std::string>());
  return py::array_t<int64_t, py::array::c_style | py::array::forcecast>(a);
}

struct Classes {  // checked arguments, with the arrays that `of` points into
  py::array logits, labels, weight;
  CrossEntropy of;

  Classes(const py::array& logits_in, const py::array& labels_in, const py::object& weight_in, int64_t ignore_index,
          double smoothing)
      : logits(contiguous(logits_in, "cross_entropy: logits")), labels(integers(labels_in)) {
    if (logits.ndim() != 2 || labels.ndim() != 1 || labels.shape(0) != logits.shape(0))
      throw py::value_error("cross_entropy: expected logits (N, C) and labels (N,), got " + shape_text(logits) +
                            " and " + shape_text(labels_in));
    long C = logits.shape(1);
    of = {pointer(logits),
          static_cast<const int64_t*>(labels.data()),
          vector_or_null(weight_in, C, "cross_entropy: weight", weight),
          logits.shape(0),
          C,
          ignore_index,
          float(smoothing)};
    long bad = bad_label(of.labels, of.rows, C, ignore_index);
    if (bad >= 0)
      throw py::index_error("cross_entropy: expected labels in [0, " + std::to_string(C) + "), got " +
                            std::to_string(of.labels[bad]) + " at position " + std::to_string(bad));
  }
};

py::tuple cross_entropy_of(const py::array& logits, const py::array& labels, const py::object& weight,
                           int64_t ignore_index, double smoothing) {
  Classes a(logits, labels, weight, ignore_index, smoothing);
  py::array losses = empty({a.of.rows}), lse = empty({a.of.rows});
  float *to = pointer_out(losses), *to_lse = pointer_out(lse);
  if (a.logits.size()) {
    Unlocked others(a.logits.size() > unlock_size);
    cross_entropy(a.of, to, to_lse);
  } else {
    zero(losses), zero(lse);
  }
  return py::make_tuple(std::move(losses), std::move(lse));
}

py::array cross_entropy_backward_of(const py::array& g_in, const py::array& logits, const py::array& labels,
                                    const py::object& weight, const py::array& lse_in, int64_t ignore_index,
                                    double smoothing) {
  Classes a(logits, labels, weight, ignore_index, smoothing);
  py::array g = contiguous(g_in, "cross_entropy_backward: g"), lse = contiguous(lse_in, "cross_entropy_backward: lse");
  if (lse.size() != a.of.rows || (g.size() != 1 && g.size() != a.of.rows))
    throw py::value_error("cross_entropy_backward: expected g and lse (" + std::to_string(a.of.rows) + ",), got " +
                          shape_text(g) + " and " + shape_text(lse));
  py::array grad = new_like(a.logits);
  if (!grad.size()) return grad;
  float* to = pointer_out(grad);
  Unlocked others(grad.size() > unlock_size);
  cross_entropy_backward(a.of, pointer(g), g.size() == 1 ? 0 : 1, pointer(lse), to);
  return grad;
}

// -- activations ----------------------------------------------------------------------------------------------------

template <class F>
py::array map_one(const py::array& x_in, const char* name, F&& f) {
  py::array x = contiguous(x_in, name), y = new_like(x);
  float* to = pointer_out(y);
  Unlocked others(x.size() > unlock_size);
  f(pointer(x), to, long(x.size()));
  return y;
}

template <class F>
py::array map_two(const py::array& g_in, const py::array& x_in, bool spare, const char* name, F&& f) {
  py::array g = contiguous(g_in, name), x = contiguous(x_in, name);
  same_shape(g, x, name);
  py::array gx = gradient_like(g, spare);
  float* to = pointer_out(gx);
  Unlocked others(x.size() > unlock_size);
  f(pointer(g), pointer(x), to, long(x.size()));
  return gx;
}

}  // namespace

void bind_rowwise(py::module_& m) {
  m.def("softmax", &softmax_of<false>, "x, axis -> softmax along axis, float32.");
  m.def("log_softmax", &softmax_of<true>, "x, axis -> log of softmax along axis, float32.");
  m.def("softmax_backward", &softmax_backward_of<false>, "g, y, axis -> gradient of x.");
  m.def("log_softmax_backward", &softmax_backward_of<true>, "g, y, axis -> gradient of x.");
  m.def("layer_norm", &layer_norm_of, "x (..., C), weight, bias (C,) or None, eps -> out, mean, rstd (..., 1).");
  m.def("layer_norm_backward", &layer_norm_backward_of, py::arg("g"), py::arg("x"), py::arg("weight"), py::arg("mean"),
        py::arg("rstd"), py::arg("spare") = false,
        "g, x, weight or None, mean, rstd -> gradients of x (over g if that is spare), weight (None without one) and "
        "bias.");
  m.def("rms_norm", &rms_norm_of, "x (..., C), weight (C,) or None, eps -> out, rstd (..., 1).");
  m.def("rms_norm_backward", &rms_norm_backward_of, py::arg("g"), py::arg("x"), py::arg("weight"), py::arg("rstd"),
        py::arg("spare") = false, "g, x, weight or None, rstd -> gradients of x (over g if that is spare) and weight.");
  m.def("cross_entropy", &cross_entropy_of,
        "logits (N, C), labels (N,), weight (C,) or None, ignore_index, label_smoothing -> losses, lse (N,).");
  m.def("cross_entropy_backward", &cross_entropy_backward_of,
        "g (N,) or (1,), logits, labels, weight, lse, ignore_index, label_smoothing -> gradient of the logits.");
  m.def("relu", [](const py::array& x) { return map_one(x, "relu", relu); }, "x -> max(x, 0).");
  m.def(
      "relu_backward",
      [](const py::array& g, const py::array& y, bool spare) {
        return map_two(g, y, spare, "relu_backward", relu_backward);
      },
      py::arg("g"), py::arg("y"), py::arg("spare") = false,
      "g, y = relu(x) -> gradient of x, over g if that is spare.");
  m.def(
      "gelu",
      [](const py::array& x, bool by_tanh) {
        return map_one(x, "gelu", [=](const float* a, float* b, long n) { gelu(a, b, n, by_tanh); });
      },
      "x, by_tanh -> GELU.");
  m.def(
      "gelu_backward",
      [](const py::array& g, const py::array& x, bool by_tanh, bool spare) {
        return map_two(g, x, spare, "gelu_backward",
                       [=](const float* a, const float* b, float* c, long n) { gelu_backward(a, b, c, n, by_tanh); });
      },
      py::arg("g"), py::arg("x"), py::arg("by_tanh"), py::arg("spare") = false,
      "g, x, by_tanh -> gradient of x, over g if that is spare.");
  m.def("silu", [](const py::array& x) { return map_one(x, "silu", silu); }, "x -> x sigmoid(x).");
  m.def(
      "silu_backward",
      [](const py::array& g, const py::array& x, bool spare) {
        return map_two(g, x, spare, "silu_backward", silu_backward);
      },
      py::arg("g"), py::arg("x"), py::arg("spare") = false, "g, x -> gradient of x, over g if that is spare.");
}

}  // namespace weft
