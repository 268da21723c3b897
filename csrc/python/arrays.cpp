#include "arrays.h"

#include <cstring>

#include "alloc.h"
#include "pool.h"

namespace weft {
namespace {

constexpr int writeable_c_array = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ |
                                  py::detail::npy_api::NPY_ARRAY_ALIGNED_ | py::detail::npy_api::NPY_ARRAY_WRITEABLE_;

constexpr const char* block_name = "weft.block";

// The capsule that owns a block; its context holds the size that the block was taken with.
void give_back(PyObject* capsule) {
  void* block = PyCapsule_GetPointer(capsule, block_name);
  give_block(block, reinterpret_cast<size_t>(PyCapsule_GetContext(capsule)));
}

py::array new_array(const py::ssize_t* shape, int ndim, py::handle descr, size_t itemsize) {
  auto& numpy = py::detail::npy_api::get();
  size_t bytes = itemsize;
  for (int i = 0; i < ndim; i++) bytes *= size_t(shape[i]);
  py::object block;
  void* data = nullptr;
  if (bytes >= smallest_block) {
    data = take_block(bytes);
    if (!data) {
      PyErr_Format(PyExc_MemoryError, "empty: the system has no %zu MiB left", bytes >> 20);
      throw py::error_already_set();
    }
    block = py::reinterpret_steal<py::object>(PyCapsule_New(data, block_name, give_back));
    if (!block) {
      give_block(data, bytes);
      throw py::error_already_set();
    }
    PyCapsule_SetContext(block.ptr(), reinterpret_cast<void*>(bytes));
  }
  auto a = py::reinterpret_steal<py::array>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, descr.inc_ref().ptr(), ndim, reinterpret_cast<const Py_intptr_t*>(shape), nullptr, data,
      data ? writeable_c_array : 0, nullptr));
  if (!a) throw py::error_already_set();
  if (block) numpy.PyArray_SetBaseObject_(a.ptr(), block.release().ptr());
  return a;
}

py::handle float32() {
  static PyObject* descr = py::dtype::of<float>().release().ptr();  // lives as long as the interpreter
  return descr;
}

std::string text(py::handle h) { return py::str(h).cast<std::string>(); }

[[noreturn]] void wrong_array(const py::array& a, const char* name, const std::string& expected) {
  bool contiguous = a.flags() & py::array::c_style;
  throw py::type_error(std::string(name) + ": expected a C-contiguous " + expected + " array, got " +
                       (contiguous ? "" : "a strided ") + text(a.dtype()) + " array of shape " + shape_text(a));
}

}  // namespace

bool is_block(py::handle base) { return PyCapsule_IsValid(base.ptr(), block_name); }

py::array empty(const py::ssize_t* shape, int ndim, const py::dtype& dtype) {
  return new_array(shape, ndim, dtype, size_t(dtype.itemsize()));
}

py::array empty(const py::ssize_t* shape, int ndim) { return new_array(shape, ndim, float32(), sizeof(float)); }

py::array in_c_order(const py::array& a) {
  constexpr long worth_a_thread = 16384;
  if (a.flags() & py::array::c_style) return a;
  const py::ssize_t n = a.ndim(), item = sizeof(float);
  if (!n || !a.size() || a.strides(n - 1) != item) return py::array_t<float, py::array::c_style>(a);
  py::array out = empty(a.shape(), int(n));
  const py::ssize_t *shape = a.shape(), *strides = a.strides(), row = shape[n - 1];
  const auto* from = static_cast<const char*>(a.data());
  auto* to = static_cast<float*>(out.mutable_data());
  Unlocked others(a.size() > worth_a_thread);
  parallel_ranges(a.size() / row, worth_a_thread / row + 1, [=](long first, long last) {
    for (long r = first; r < last; r++) {
      long rest = r, at = 0;
      for (py::ssize_t i = n - 2; i >= 0; rest /= shape[i], i--) at += rest % shape[i] * strides[i];
      std::memcpy(to + r * row, from + at, size_t(row * item));
    }
  });
  return out;
}

const float* floats(const py::array& a, const char* name) {
  if (!is_float32(a) || !(a.flags() & py::array::c_style)) wrong_array(a, name, "float32");
  return static_cast<const float*>(a.data());
}

float* floats_out(py::array& a, const char* name) {
  const float* data = floats(a, name);
  if (!a.writeable()) throw py::value_error(std::string(name) + ": expected a writeable array, got a read-only one");
  return const_cast<float*>(data);
}

void check_array(const py::array& a, const char* name, const py::dtype& expected) {
  if (!a.dtype().equal(expected) || !(a.flags() & py::array::c_style)) wrong_array(a, name, text(expected));
}

std::string shape_text(const py::array& a) { return text(a.attr("shape")); }

}  // namespace weft
