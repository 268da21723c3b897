// matmul and linear: shapes, strides and broadcasting on this side, products of plain pointers on the other.
#include <algorithm>

#include "arrays.h"
#include "gemm.h"

namespace weft {
namespace {

constexpr double unlock_flops = 1e6;

// A float32 array of any strides, each a whole number of floats.
py::array strided(const py::array& a, const char* op, const char* name) {
  if (!is_float32(a))
    throw py::type_error(std::string(op) + ": expected float32 " + name + ", got " +
                         py::str(a.dtype()).cast<std::string>());
  for (py::ssize_t i = 0; i < a.ndim(); i++)
    if (a.strides(i) % py::ssize_t(sizeof(float))) return py::array_t<float, py::array::c_style>(a);
  return a;
}

long stride(const py::array& a, py::ssize_t axis) { return a.strides(axis) / long(sizeof(float)); }

struct Matrices {  // an operand as a batch of matrices: its last two axes and the strides of the others
  const float* data;
  long rows, columns, row_stride, column_stride;
  py::ssize_t batch_axes;
};

Matrices as_matrices(const py::array& a, bool left) {
  auto data = static_cast<const float*>(a.data());
  py::ssize_t n = a.ndim();
  if (n == 1) {
    long size = a.shape(0), step = stride(a, 0);
    return left ? Matrices{data, 1, size, 0, step, 0} : Matrices{data, size, 1, step, 1, 0};
  }
  return {data, a.shape(n - 2), a.shape(n - 1), stride(a, n - 2), stride(a, n - 1), n - 2};
}

[[noreturn]] void mismatch(const py::array& a, const py::array& b) {
  throw py::value_error("matmul: expected a (..., M, K) and b (..., K, N), got " + shape_text(a) + " and " +
                        shape_text(b));
}

// Whether the leading axes of `a` walk through memory at one stride, so that they are one long axis of rows.
bool collapses(const py::array& a, long& step) {
  py::ssize_t last = a.ndim() - 2;
  step = stride(a, last);
  long expected = step * a.shape(last);
  for (py::ssize_t i = last - 1; i >= 0; expected *= a.shape(i), i--)
    if (a.shape(i) != 1 && stride(a, i) != expected) return false;
  return true;
}

py::array matmul(const py::array& a_in, const py::array& b_in) {
  py::array a = strided(a_in, "matmul", "a"), b = strided(b_in, "matmul", "b");
  if (a.ndim() == 0 || b.ndim() == 0) mismatch(a, b);
  Matrices x = as_matrices(a, true), y = as_matrices(b, false);
  if (x.columns != y.rows) mismatch(a, b);
  long M = x.rows, N = y.columns, K = x.columns;

  Shape shape;
  py::ssize_t batch_axes = std::max(x.batch_axes, y.batch_axes);
  shape.reserve(size_t(batch_axes) + 2);
  long batch = 1;
  for (py::ssize_t i = 0; i < batch_axes; i++) {
    py::ssize_t xi = i - (batch_axes - x.batch_axes), yi = i - (batch_axes - y.batch_axes);
    py::ssize_t p = xi < 0 ? 1 : a.shape(xi), q = yi < 0 ? 1 : b.shape(yi);
    if (p != q && p != 1 && q != 1) mismatch(a, b);
    shape.push_back(p == 1 ? q : p);
    batch *= shape.back();
  }
  if (a.ndim() > 1) shape.push_back(M);
  if (b.ndim() > 1) shape.push_back(N);
  py::array out = empty(shape);
  auto to = static_cast<float*>(out.mutable_data());
  if (batch == 0 || M == 0 || N == 0) return out;

  Unlocked others(2.0 * double(batch) * double(M) * double(N) * double(K) > unlock_flops);
  long step = x.row_stride;
  if (batch == 1 || (y.batch_axes == 0 && a.ndim() > 2 && collapses(a, step))) {
    sgemm(batch * M, N, K, x.data, step, x.column_stride, y.data, y.row_stride, y.column_stride, to, N);
    return out;
  }
  std::vector<long> x_at(static_cast<size_t>(batch), 0), y_at(x_at), out_at(x_at);
  std::vector<long> index(static_cast<size_t>(batch_axes), 0);
  long xo = 0, yo = 0;
  auto step_of = [&](const py::array& m, const Matrices& s, py::ssize_t axis) {
    py::ssize_t i = axis - (batch_axes - s.batch_axes);
    return i < 0 || m.shape(i) == 1 ? 0L : stride(m, i);
  };
  for (long t = 0; t < batch; t++) {
    x_at[t] = xo, y_at[t] = yo, out_at[t] = t * M * N;
    for (py::ssize_t axis = batch_axes - 1; axis >= 0; axis--) {
      long dx = step_of(a, x, axis), dy = step_of(b, y, axis);
      xo += dx, yo += dy;
      if (++index[size_t(axis)] < shape[size_t(axis)]) break;
      xo -= dx * shape[size_t(axis)], yo -= dy * shape[size_t(axis)];
      index[size_t(axis)] = 0;
    }
  }
  sgemm_batch(batch, M, N, K, x.data, x_at.data(), x.row_stride, x.column_stride, y.data, y_at.data(), y.row_stride,
              y.column_stride, to, out_at.data(), N);
  return out;
}

// A strided bias is copied; anything but float32 is left for the check that names it.
py::object contiguous(const py::object& bias) {
  auto a = py::reinterpret_borrow<py::array>(bias);
  return is_float32(a) ? py::array_t<float, py::array::c_style>(a) : a;
}

py::array linear(const py::array& x_in, const py::array& weight_in, py::object bias) {
  if (!bias.is_none()) bias = contiguous(bias);
  py::array x = strided(x_in, "linear", "x"), w = strided(weight_in, "linear", "weight");
  const float* b = floats_or_null(bias, "linear: bias");
  py::ssize_t n = x.ndim();
  if (n == 0 || w.ndim() != 2 || x.shape(n - 1) != w.shape(1))
    throw py::value_error("linear: expected x (..., I) and weight (O, I), got " + shape_text(x) + " and " +
                          shape_text(w));
  long O = w.shape(0), I = w.shape(1), rows = I ? x.size() / I : 1;
  if (!I)
    for (py::ssize_t i = 0; i + 1 < n; i++) rows *= x.shape(i);
  if (b && py::reinterpret_borrow<py::array>(bias).size() != O)
    throw py::value_error("linear: expected bias (" + std::to_string(O) + ",) to match weight " + shape_text(w) +
                          ", got " + shape_text(py::reinterpret_borrow<py::array>(bias)));
  long step = I;
  if (n >= 2 && !collapses(x, step)) x = in_c_order(x), step = I;
  Shape shape(x.shape(), x.shape() + n);
  shape.back() = O;
  py::array out = empty(shape);
  Unlocked others(2.0 * double(rows) * double(O) * double(I) > unlock_flops);
  sgemm(rows, O, I, static_cast<const float*>(x.data()), step, stride(x, n - 1), static_cast<const float*>(w.data()),
        stride(w, 1), stride(w, 0), static_cast<float*>(out.mutable_data()), O, false, b);
  return out;
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"),
        "a (..., M, K), b (..., K, N) -> (..., M, N), float32 of any strides; 1-d operands and broadcasting as NumPy.");
  m.def("linear", &linear, py::arg("x"), py::arg("weight"), py::arg("bias"),
        "x (..., I), weight (O, I), bias (O,) or None -> x weight^T + bias (..., O), float32.");
}

}  // namespace weft
