// Elementwise functions and sums. What a kernel does not cover comes back as None, and the caller asks NumPy.
#include <algorithm>
#include <cstring>

#include "arrays.h"
#include "map.h"
#include "reduce.h"

namespace weft {
namespace {

constexpr py::ssize_t unlock_size = 32768;

bool plain(const py::array& a) { return is_float32(a) && (a.flags() & py::array::c_style); }
const float* data_of_plain(const py::array& a) { return static_cast<const float*>(a.data()); }
float* out_of(py::array& a) { return static_cast<float*>(a.mutable_data()); }

py::object unary(int code, const py::array& x) {
  if (code < 0 || code >= int(Unary::count)) throw py::value_error("unary: unknown code " + std::to_string(code));
  if (!plain(x)) return py::none();
  py::array y = empty(x.shape(), int(x.ndim()));
  Unlocked others(x.size() > unlock_size);
  unary_map(Unary(code), data_of_plain(x), out_of(y), x.size());
  return y;
}

// The (P, Q, R) of b beside a: b's axes, put under a's last ones, are a's own along one block of axes and 1 elsewhere.
bool spreads(const py::array& b, const py::array& a, long& P, long& Q, long& R) {
  if (b.ndim() > a.ndim()) return false;
  py::ssize_t shift = a.ndim() - b.ndim();
  P = Q = R = 1;
  for (py::ssize_t i = 0; i < a.ndim(); i++) {
    py::ssize_t n = a.shape(i), m = i < shift ? 1 : b.shape(i - shift);
    if (m == n && m != 1) {
      if (R != 1) return false;
      Q *= n;
    } else if (m == 1) {
      (Q == 1 ? P : R) *= n;
    } else {
      return false;
    }
  }
  if (Q == 1) R = P, P = 1;
  return true;
}

bool same_shape(const py::array& a, const py::array& b) {
  return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
}

py::object spread(Binary f, const py::array& a, const float* b, long P, long Q, long R, bool swapped) {
  py::array y = empty(a.shape(), int(a.ndim()));
  Unlocked others(a.size() > unlock_size);
  binary_map(f, data_of_plain(a), b, out_of(y), P, Q, R, swapped);
  return y;
}

bool number(const py::object& o, float& value) {
  if (PyFloat_CheckExact(o.ptr()) || PyLong_CheckExact(o.ptr())) {
    double wide = PyFloat_AsDouble(o.ptr());
    if (wide == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      return false;
    }
    value = float(wide);
    return true;
  }
  return false;
}

py::object binary(int code, const py::object& left, const py::object& right) {
  if (code < 0 || code >= int(Binary::count)) throw py::value_error("binary: unknown code " + std::to_string(code));
  auto f = Binary(code);
  bool is_a = py::isinstance<py::array>(left), is_b = py::isinstance<py::array>(right);
  float value;
  if (is_a && is_b) {
    auto a = py::reinterpret_borrow<py::array>(left), b = py::reinterpret_borrow<py::array>(right);
    if (!plain(a) || !plain(b)) return py::none();
    if (same_shape(a, b)) {
      py::array y = empty(a.shape(), int(a.ndim()));
      Unlocked others(a.size() > unlock_size);
      binary_map_same(f, data_of_plain(a), data_of_plain(b), out_of(y), a.size());
      return y;
    }
    long P, Q, R;
    if (spreads(b, a, P, Q, R)) return spread(f, a, data_of_plain(b), P, Q, R, false);
    if (spreads(a, b, P, Q, R)) return spread(f, b, data_of_plain(a), P, Q, R, true);
  } else if (is_a && number(right, value)) {
    auto a = py::reinterpret_borrow<py::array>(left);
    if (plain(a)) return spread(f, a, &value, 1, 1, a.size(), false);
  } else if (is_b && number(left, value)) {
    auto b = py::reinterpret_borrow<py::array>(right);
    if (plain(b)) return spread(f, b, &value, 1, 1, b.size(), true);
  }
  return py::none();
}

bool accumulate(py::array& a, const py::array& b) {
  if (!plain(a) || !plain(b) || !same_shape(a, b) || !a.writeable()) return false;
  Unlocked others(a.size() > unlock_size);
  accumulate_map(out_of(a), data_of_plain(b), a.size());
  return true;
}

// The axes of a reduction as a bit each, from None, a number or a tuple; false where NumPy should complain.
bool axes_of(const py::object& axis, py::ssize_t ndim, unsigned long& axes) {
  axes = 0;
  auto add = [&](PyObject* number) {
    long i = PyLong_Check(number) ? PyLong_AsLong(number) : ndim;
    if (i == -1 && PyErr_Occurred()) PyErr_Clear(), i = ndim;
    if (i < -ndim || i >= ndim) return false;
    unsigned long bit = 1ul << (i < 0 ? i + ndim : i);
    if (axes & bit) return false;
    axes |= bit;
    return true;
  };
  if (axis.is_none()) {
    axes = (1ul << ndim) - 1;
    return true;
  }
  if (!PyTuple_CheckExact(axis.ptr())) return add(axis.ptr());
  for (py::ssize_t i = 0; i < PyTuple_GET_SIZE(axis.ptr()); i++)
    if (!add(PyTuple_GET_ITEM(axis.ptr(), i))) return false;
  return true;
}

py::object sum(const py::object& array, const py::object& axis, bool keepdims, bool mean) {
  if (Py_TYPE(array.ptr()) != py::detail::npy_api::get().PyArray_Type_) return py::none();
  auto x = py::reinterpret_borrow<py::array>(array);
  py::ssize_t n = x.ndim();
  unsigned long axes;
  if (!plain(x) || n > 60 || !axes_of(axis, n, axes)) return py::none();
  // Blocks of neighbouring axes that are kept (0) or summed (1), axes of length 1 aside.
  long lengths[64];
  bool summed[64];
  int blocks = 0;
  Shape shape;
  for (py::ssize_t i = 0; i < n; i++) {
    bool s = axes >> i & 1;
    if (!s || keepdims) shape.push_back(s ? 1 : x.shape(i));
    if (x.shape(i) == 1) continue;
    if (blocks && summed[blocks - 1] == s)
      lengths[blocks - 1] *= x.shape(i);
    else
      summed[blocks] = s, lengths[blocks++] = x.shape(i);
  }
  int first = blocks && summed[0];
  bool around = first && blocks == 3;
  if (blocks > 3 || (blocks == 3 && summed[0] != summed[2])) return py::none();
  py::array y = empty(shape);
  if (y.size() == 0) return y;
  if (x.size() == 0) {
    if (mean) return py::none();
    std::fill_n(out_of(y), y.size(), 0.f);
    return y;
  }
  Unlocked others(x.size() > unlock_size);
  if (around) {
    sum_around(data_of_plain(x), out_of(y), lengths[0], lengths[1], lengths[2]);
  } else if (first) {
    sum_middle(data_of_plain(x), out_of(y), 1, lengths[0], blocks > 1 ? lengths[1] : 1);
  } else {
    sum_middle(data_of_plain(x), out_of(y), blocks > 0 ? lengths[0] : 1, blocks > 1 ? lengths[1] : 1,
               blocks > 2 ? lengths[2] : 1);
  }
  if (mean) {
    float each = float(x.size() / y.size()), *out = out_of(y);
    for (py::ssize_t i = 0; i < y.size(); i++) out[i] /= each;
  }
  return y;
}

// A function of the array namespace that runs a kernel on plain arrays and `otherwise` on all else. It sits on every
// elementwise call, so it is a bare CPython function: pybind11's argument matching would cost more than a small ufunc.
struct Routed {
  int code;
  int arrays;
  py::ssize_t least;
  PyObject* otherwise;
  PyMethodDef definition;
};

bool worth_it(PyObject* o, py::ssize_t least) {
  if (Py_TYPE(o) != py::detail::npy_api::get().PyArray_Type_) return false;
  const auto* a = py::detail::array_proxy(o);
  py::ssize_t n = 1;
  for (int i = 0; i < a->nd; i++) n *= a->dimensions[i];
  return n >= least;
}

PyObject* call_routed(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  auto* f = static_cast<Routed*>(PyCapsule_GetPointer(self, nullptr));
  if (count == f->arrays && !keywords && (worth_it(args[0], f->least) || (count == 2 && worth_it(args[1], f->least)))) {
    try {
      auto a = py::reinterpret_borrow<py::object>(args[0]);
      py::object y = count == 1 ? unary(f->code, py::reinterpret_borrow<py::array>(a))
                                : binary(f->code, a, py::reinterpret_borrow<py::object>(args[1]));
      if (!y.is_none()) return y.release().ptr();
    } catch (py::error_already_set& error) {
      error.restore();
      return nullptr;
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
      return nullptr;
    }
  }
  return PyObject_Vectorcall(f->otherwise, args, size_t(count), keywords);
}

py::object route(const std::string& name, const py::object& otherwise, py::ssize_t least) {
  py::module_ m = py::module_::import("weft._cpu");
  py::dict one = m.attr("UNARY"), two = m.attr("BINARY");
  bool single = one.contains(name.c_str());
  if (!single && !two.contains(name.c_str())) throw py::key_error("route: no kernel is named " + name);
  auto* f = new Routed;  // lives as long as the interpreter, like the module that holds it
  f->code = (single ? one : two)[name.c_str()].cast<int>();
  f->arrays = single ? 1 : 2;
  f->least = least;
  f->otherwise = py::object(otherwise).release().ptr();
  f->definition = {strdup(name.c_str()), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_routed)),
                   METH_FASTCALL | METH_KEYWORDS, nullptr};
  auto self = py::reinterpret_steal<py::object>(PyCapsule_New(f, nullptr, nullptr));
  return py::reinterpret_steal<py::object>(PyCFunction_NewEx(&f->definition, self.ptr(), nullptr));
}

}  // namespace

void bind_map(py::module_& m) {
  m.def("unary", &unary, py::arg("code"), py::arg("x"),
        "UNARY's function of every element of a float32 array; None if x is not C-contiguous float32.");
  m.def("binary", &binary, py::arg("code"), py::arg("a"), py::arg("b"),
        "BINARY's function of two arrays of one shape, or of an array and a number or an array that varies along one "
        "block of its axes; None for all else.");
  m.def("accumulate", &accumulate, py::arg("a").noconvert(), py::arg("b"),
        "a += b in place. False, and nothing written, unless both are plain float32 arrays of one shape.");
  m.def("sum", &sum, py::arg("x"), py::arg("axis"), py::arg("keepdims"), py::arg("mean") = false,
        "The sum or mean over `axis` (None, a number, a tuple). None for all but plain arrays, for axes out of range, "
        "and "
        "where the axes are not one block or all but one block.");
  m.def("route", &route, py::arg("name"), py::arg("otherwise"), py::arg("least"),
        "A function that runs the kernel `name` on plain arrays of at least `least` elements, else calls `otherwise`.");
  const char* unaries[] = {"negative", "abs",     "square", "sqrt", "exp",       "log",
                           "tanh",     "sigmoid", "relu",   "erf",  "reciprocal"};
  const char* binaries[] = {"add", "subtract", "multiply", "divide", "maximum", "minimum"};
  static_assert(std::size(unaries) == size_t(Unary::count) && std::size(binaries) == size_t(Binary::count));
  py::dict one, two;
  for (int i = 0; i < int(Unary::count); i++) one[unaries[i]] = i;
  for (int i = 0; i < int(Binary::count); i++) two[binaries[i]] = i;
  m.attr("UNARY") = one;
  m.attr("BINARY") = two;
}

}  // namespace weft
