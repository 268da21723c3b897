#include "arguments.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace launcher {

namespace {

std::string type_name(PyObject* object) { return Py_TYPE(object)->tp_name; }

// The last part of a dotted name, as `type(x).__name__` has it.
std::string short_type_name(PyObject* object) {
  const std::string name = type_name(object);
  return name.substr(name.rfind('.') + 1);
}

std::string text(PyObject* object) { return py::str(py::handle(object)); }

// An attribute, or null with no exception set where it cannot be had: some scalars raise TypeError instead.
PyObject* attribute(PyObject* object, const py::str& name) {
  PyObject* found = PyObject_GetAttr(object, name.ptr());
  if (!found) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) throw py::error_already_set();
    PyErr_Clear();
  }
  return found;
}

// The attribute as an integer that fits a pointer; the object must have it.
uint64_t unsigned_attribute(PyObject* object, const py::str& name) {
  const auto value = py::reinterpret_steal<py::object>(PyObject_GetAttr(object, name.ptr()));
  if (!value) throw py::error_already_set();
  const uint64_t number = PyLong_AsUnsignedLongLong(value.ptr());
  if (number == static_cast<uint64_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return number;
}

std::string device_name(int device) { return "cuda:" + std::to_string(device); }

}  // namespace

std::string Arguments::head(size_t place, const Parameter& parameter) const {
  return "launch: " + kernel_ + ": expected argument " + std::to_string(place) + " (" + parameter.name + ") to ";
}

void Arguments::refuse(size_t place, const Parameter& parameter, const std::string& wanted,
                       const std::string& got) const {
  throw py::type_error(head(place, parameter) + "be " + wanted + ", got " + got);
}

void Arguments::no_fit(size_t place, const Parameter& parameter, PyObject* argument) const {
  throw py::value_error(head(place, parameter) + "fit " + parameter.type + ", got " + text(argument));
}

std::byte* Arguments::reserve(size_t place, size_t bytes) {
  const size_t start = (used_ + 15) / 16 * 16;  // no type of a kernel but the tensor map is aligned to more
  if (start + bytes > BYTES) {
    throw py::value_error("launch: " + kernel_ + ": expected at most " + std::to_string(BYTES) +
                          " bytes of arguments, got more");
  }
  used_ = start + bytes;
  pointers_[place] = storage_ + start;
  return storage_ + start;
}

template <class T>
void Arguments::put(size_t place, T value) {
  std::memcpy(reserve(place, sizeof value), &value, sizeof value);
}

void Arguments::pack(PyObject* given) {
  const auto sequence =
      py::reinterpret_steal<py::object>(PySequence_Fast(given, "launch: expected a tuple of arguments"));
  if (!sequence) throw py::error_already_set();
  const size_t count = PySequence_Fast_GET_SIZE(sequence.ptr());
  if (count != parameters_.size()) {
    std::string words;
    for (const Parameter& p : parameters_) words += (words.empty() ? "" : ", ") + p.type + " " + p.name;
    throw py::type_error("launch: " + kernel_ + ": expected " + std::to_string(parameters_.size()) + " arguments (" +
                         words + "), got " + std::to_string(count));
  }
  if (count > MOST) {
    throw py::value_error("launch: " + kernel_ + ": expected at most " + std::to_string(MOST) + " arguments, got " +
                          std::to_string(count));
  }
  PyObject** items = PySequence_Fast_ITEMS(sequence.ptr());
  for (size_t i = 0; i < count; i++) pack_one(i, parameters_[i], items[i]);
}

void Arguments::pack_one(size_t place, Parameter& parameter, PyObject* argument) {
  switch (parameter.kind) {
    case 'P':
      return pointer(place, parameter, argument);
    case 'T':
      return tensor_map(place, parameter, argument);
    case 'S':
      return structure(place, parameter, argument);
    case 'f':
    case 'd':
      return number(place, parameter, argument);
    default:
      return integer(place, parameter, argument);
  }
}

void Arguments::at_device(size_t place, const Parameter& parameter, int device, const char* what) {
  if (device_ == NOWHERE) device_ = device;
  if (device_ != device) {
    refuse(place, parameter, std::string(what) + " of " + device_name(device_), "one of " + device_name(device));
  }
}

void Arguments::pointer(size_t place, Parameter& parameter, PyObject* argument) {
  if (argument == Py_None) return put<uint64_t>(place, 0);
  if (PyLong_Check(argument)) {
    const uint64_t address = PyLong_AsUnsignedLongLong(argument);
    if (address == static_cast<uint64_t>(-1) && PyErr_Occurred()) {
      PyErr_Clear();
      no_fit(place, parameter, argument);
    }
    return put(place, address);
  }
  const auto memory = py::reinterpret_steal<py::object>(attribute(argument, python_.data));
  const auto address = memory ? py::reinterpret_steal<py::object>(attribute(memory.ptr(), python_.ptr)) : py::object();
  if (!address) {
    const std::string where = device_name(device_ == NOWHERE ? 0 : device_);
    refuse(place, parameter, "an array of " + where, short_type_name(argument));
  }
  at_device(place, parameter, static_cast<int>(unsigned_attribute(memory.ptr(), python_.device_id)), "an array");
  if (!parameter.dtypes.empty()) check_dtype(place, parameter, argument);
  put(place, static_cast<uint64_t>(PyLong_AsUnsignedLongLong(address.ptr())));
}

void Arguments::check_dtype(size_t place, Parameter& parameter, PyObject* argument) {
  const auto dtype = py::reinterpret_steal<py::object>(PyObject_GetAttr(argument, python_.dtype.ptr()));
  if (!dtype) throw py::error_already_set();
  for (const py::object& known : parameter.known_dtypes) {
    if (known.is(dtype)) return;
  }
  const std::string letter = py::str(dtype.attr(python_.char_));
  if (parameter.dtypes.find(letter) == std::string::npos) {
    const std::string pointee = parameter.type.substr(0, parameter.type.size() - 1);
    refuse(place, parameter, "an array of " + pointee, text(dtype.ptr()));
  }
  if (parameter.known_dtypes.size() < 16) parameter.known_dtypes.push_back(dtype);
}

void Arguments::tensor_map(size_t place, const Parameter& parameter, PyObject* argument) {
  if (Py_TYPE(argument) != reinterpret_cast<PyTypeObject*>(python_.tensor_map.ptr())) {
    refuse(place, parameter, "a tensor map", short_type_name(argument));
  }
  at_device(place, parameter, static_cast<int>(unsigned_attribute(argument, python_.ordinal)), "a tensor map");
  pointers_[place] = reinterpret_cast<void*>(unsigned_attribute(argument, python_.address));
}

void Arguments::structure(size_t place, const Parameter& parameter, PyObject* argument) {
  Py_buffer view{};
  if (PyUnicode_Check(argument) || PyObject_GetBuffer(argument, &view, PyBUF_FULL_RO) ||
      !PyBuffer_IsContiguous(&view, 'C')) {
    PyErr_Clear();
    PyBuffer_Release(&view);
    refuse(place, parameter, "a " + parameter.type + " by value (bytes, or a ctypes or NumPy structure)",
           short_type_name(argument));
  }
  const size_t bytes = view.len;
  const bool fits = !parameter.size || parameter.size == bytes;
  if (fits && bytes <= BYTES) std::memcpy(reserve(place, bytes), view.buf, bytes);
  PyBuffer_Release(&view);
  if (!fits) {
    refuse(place, parameter, "a " + parameter.type + " of " + std::to_string(parameter.size) + " bytes",
           std::to_string(bytes));
  }
}

void Arguments::number(size_t place, const Parameter& parameter, PyObject* argument) {
  double value;
  if (PyFloat_Check(argument)) {
    value = PyFloat_AS_DOUBLE(argument);
  } else if (PyLong_Check(argument) || PyObject_IsInstance(argument, python_.generic.ptr()) == 1) {
    value = PyFloat_AsDouble(argument);
    if (value == -1 && PyErr_Occurred()) {
      const bool large = PyErr_ExceptionMatches(PyExc_OverflowError);
      PyErr_Clear();
      if (large) no_fit(place, parameter, argument);
      refuse(place, parameter, parameter.type, short_type_name(argument));
    }
  } else {
    refuse(place, parameter, parameter.type, short_type_name(argument));
  }
  // beyond float's range: an infinity, as C has it
  parameter.kind == 'f' ? put(place, static_cast<float>(value)) : put(place, value);
}

void Arguments::integer(size_t place, const Parameter& parameter, PyObject* argument) {
  py::object index;
  if (!PyLong_Check(argument)) {
    if (PyObject_IsInstance(argument, python_.generic.ptr()) == 1) {
      index = py::reinterpret_steal<py::object>(PyNumber_Index(argument));
      PyErr_Clear();
    }
    if (!index) refuse(place, parameter, parameter.type, short_type_name(argument));
    argument = index.ptr();
  }
  if (parameter.kind == 'Q') {
    const uint64_t value = PyLong_AsUnsignedLongLong(argument);
    if (value == static_cast<uint64_t>(-1) && PyErr_Occurred()) {
      PyErr_Clear();
      no_fit(place, parameter, argument);
    }
    return put(place, value);
  }
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(argument, &overflow);
  const auto within = [&](auto type) {
    using T = decltype(type);
    if (overflow || value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max()) {
      no_fit(place, parameter, argument);
    }
    put(place, static_cast<T>(value));
  };
  switch (parameter.kind) {
    case 'i':
      return within(int32_t{});
    case 'I':
      return within(uint32_t{});
    case 'q':
      return within(int64_t{});
    case '?':
      return put(place, static_cast<uint8_t>(overflow || value));
    default:
      throw std::logic_error("launch: unknown kind of parameter");
  }
}

}  // namespace launcher
