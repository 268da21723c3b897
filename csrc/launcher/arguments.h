// Arguments of a kernel from Python, checked against its C declaration and laid out as cuLaunchKernelEx takes them.
// python/weft/backends/arguments.py is the same in Python: for the emulated device, and where this is not built.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>
#include <vector>

namespace launcher {

namespace py = pybind11;

// One parameter, as weft.backends.source.Parameter tells it.
struct Parameter {
  std::string name, type;
  char kind;           // P pointer, T tensor map, S struct by value, or the struct module's code of a scalar
  size_t size;         // bytes; of a struct, what the driver says once it is loaded, 0 until then
  std::string dtypes;  // of a pointer: the dtype characters that it takes; empty takes all
  std::vector<py::object> known_dtypes;  // those found to be among them
};

// Types and names of Python that are met in every launch.
struct Python {
  py::object tensor_map, generic;  // classes: weft's TensorMap, numpy.generic
  py::str data{"data"}, ptr{"ptr"}, device_id{"device_id"}, dtype{"dtype"}, char_{"char"};
  py::str address{"address"}, ordinal{"ordinal"};
};

class Arguments {
 public:
  static constexpr size_t MOST = 64, BYTES = 4096;  // the driver takes 4 KiB of parameters
  static constexpr int NOWHERE = -1;

  Arguments(const Python& python, const std::string& kernel, std::vector<Parameter>& parameters)
      : python_(python), kernel_(kernel), parameters_(parameters) {}

  // TypeError and ValueError name the argument that does not fit. `given` keeps tensor maps alive meanwhile.
  void pack(PyObject* given);

  void** pointers() { return pointers_; }
  int device() const { return device_; }  // where the arrays are, or NOWHERE if there is none

 private:
  void pack_one(size_t place, Parameter& parameter, PyObject* argument);
  void pointer(size_t place, Parameter& parameter, PyObject* argument);
  void tensor_map(size_t place, const Parameter& parameter, PyObject* argument);
  void structure(size_t place, const Parameter& parameter, PyObject* argument);
  void number(size_t place, const Parameter& parameter, PyObject* argument);
  void integer(size_t place, const Parameter& parameter, PyObject* argument);
  void at_device(size_t place, const Parameter& parameter, int device, const char* what);
  void check_dtype(size_t place, Parameter& parameter, PyObject* argument);
  template <class T>
  void put(size_t place, T value);
  std::byte* reserve(size_t place, size_t bytes);

  std::string head(size_t place, const Parameter& parameter) const;
  [[noreturn]] void refuse(size_t place, const Parameter& parameter, const std::string& wanted,
                           const std::string& got) const;
  [[noreturn]] void no_fit(size_t place, const Parameter& parameter, PyObject* argument) const;

  const Python& python_;
  const std::string& kernel_;
  std::vector<Parameter>& parameters_;
  int device_ = NOWHERE;
  size_t used_ = 0;
  void* pointers_[MOST];
  alignas(64) std::byte storage_[BYTES];
};

}  // namespace launcher
