// Arrays in and out of the bindings: float32 NumPy arrays, checked by name, and outputs from the caching allocator.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace weft {

namespace py = pybind11;
using Shape = std::vector<py::ssize_t>;

// A new C-contiguous array, contents unspecified: float32, or any plain dtype. From 64 KiB up its memory is reused.
py::array empty(const py::ssize_t* shape, int ndim, const py::dtype& dtype);
py::array empty(const py::ssize_t* shape, int ndim);
inline py::array empty(const Shape& shape) { return empty(shape.data(), int(shape.size())); }
inline py::array empty(std::initializer_list<py::ssize_t> shape) { return empty(shape.begin(), int(shape.size())); }
// Whether the base of an array is a block that `empty` made.
bool is_block(py::handle base);
inline py::array empty_like(const py::array& a) { return empty(a.shape(), int(a.ndim()), a.dtype()); }

// float32 in the machine's byte order ('=').
inline bool is_float32(const py::array& a) {
  const auto* d = py::detail::array_descriptor_proxy(py::detail::array_proxy(a.ptr())->descr);
  return d->type_num == py::detail::npy_api::NPY_FLOAT_ && d->byteorder == '=';
}

// The data of a C-contiguous float32 array; TypeError names the argument otherwise.
const float* floats(const py::array& a, const char* name);
float* floats_out(py::array& a, const char* name);  // writeable too

// The same for any dtype: data_of<int64_t>(labels, "labels").
void check_array(const py::array& a, const char* name, const py::dtype& expected);
template <class T>
const T* data_of(const py::array& a, const char* name) {
  check_array(a, name, py::dtype::of<T>());
  return static_cast<const T*>(a.data());
}
template <class T>
py::array empty_of(const Shape& shape) {
  return empty(shape.data(), int(shape.size()), py::dtype::of<T>());
}

// A float32 array in C order: itself, or a copy, made by all threads where its rows are contiguous.
py::array in_c_order(const py::array& a);

// Optional arrays: None is a null pointer.
inline const float* floats_or_null(const py::object& a, const char* name) {
  return a.is_none() ? nullptr : floats(py::reinterpret_borrow<py::array>(a), name);
}

std::string shape_text(const py::array& a);

// Lets other Python threads run while work of more than about 20 us goes on; giving up the lock itself costs about 0.1.
class Unlocked {
 public:
  explicit Unlocked(bool worth_it) : saved(worth_it ? PyEval_SaveThread() : nullptr) {}
  ~Unlocked() {
    if (saved) PyEval_RestoreThread(saved);
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* saved;
};

}  // namespace weft
