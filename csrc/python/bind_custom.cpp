// Loops that a user's function was compiled into (python/weft/custom), run over arrays by the thread pool.
#include <algorithm>
#include <cstdint>

#include "arrays.h"
#include "pool.h"

namespace weft {
namespace {

constexpr int most_operands = 16, most_axes = 32;
constexpr long grain = 8192;  // elements worth waking a thread for

// (count, pointers, strides in elements): the first of both is the result's.
using Loop = void (*)(int64_t, char**, const int64_t*);

// Arrays that are walked together: the result first. Axes are merged where all lie so; the last is the innermost.
struct Walk {
  int operands = 0, axes = 0;
  py::ssize_t itemsize = 0;
  int64_t sizes[most_axes];
  int64_t strides[most_operands][most_axes];
  char* data[most_operands];

  void merge() {
    int kept = 0;
    for (int d = 0; d < axes; d++) {
      if (sizes[d] == 1) continue;
      bool joins = kept > 0;
      for (int k = 0; joins && k < operands; k++) joins = strides[k][kept - 1] == strides[k][d] * sizes[d];
      if (joins) {
        sizes[kept - 1] *= sizes[d];
      } else {
        sizes[kept++] = sizes[d];
      }
      for (int k = 0; k < operands; k++) strides[k][kept - 1] = strides[k][d];
    }
    if (kept == 0) {
      sizes[0] = 1;
      for (int k = 0; k < operands; k++) strides[k][0] = k == 0;
      kept = 1;
    }
    axes = kept;
  }

  // Elements [begin, end) of the walk.
  void run(Loop loop, long begin, long end) const {
    const int64_t inner = sizes[axes - 1];
    int64_t steps[most_operands];
    for (int k = 0; k < operands; k++) steps[k] = strides[k][axes - 1];
    while (begin < end) {
      const long row = begin / inner, first = begin % inner, count = std::min(end - begin, long(inner) - first);
      char* at[most_operands];
      for (int k = 0; k < operands; k++) {
        int64_t offset = first * steps[k];
        long rest = row;
        for (int d = axes - 2; d >= 0; d--) {
          offset += rest % sizes[d] * strides[k][d];
          rest /= sizes[d];
        }
        at[k] = data[k] + offset * itemsize;
      }
      loop(count, at, steps);
      begin += count;
    }
  }
};

// NumPy's number of a float32 or float64 array's type in the machine's byte order, else -1.
int real_type(const py::detail::PyArray_Proxy* a) {
  using Api = py::detail::npy_api;
  const auto* d = py::detail::array_descriptor_proxy(a->descr);
  const bool real = d->type_num == Api::NPY_FLOAT_ || d->type_num == Api::NPY_DOUBLE_;
  return real && d->byteorder == '=' ? d->type_num : -1;
}

// loops: {bits: address of the loop whose operand k is one number where bit k is set}. Returns the bits that are asked
// for where their loop is not among them. NumPy's structs are read as they are: this sits on every call.
py::object run_loop(const py::dict& loops, const py::list& arrays) {
  const int count = int(arrays.size());
  if (count < 1 || count >= most_operands) throw py::value_error("run_loop: expected 1 to 15 arrays");
  Walk walk;
  walk.operands = count + 1;
  const py::detail::PyArray_Proxy* held[most_operands] = {};
  int axes = 0, type = -1;
  for (int k = 1; k <= count; k++) {
    PyObject* array = PyList_GET_ITEM(arrays.ptr(), k - 1);
    if (!py::detail::npy_api::get().PyArray_Check_(array)) throw py::type_error("run_loop: expected NumPy arrays");
    held[k] = py::detail::array_proxy(array);
    axes = std::max(axes, held[k]->nd);
    const int found = real_type(held[k]);
    if (found < 0 || (k > 1 && found != type)) {
      throw py::type_error("run_loop: expected float32 or float64 arrays of one dtype");
    }
    type = found;
  }
  if (axes > most_axes) throw py::value_error("run_loop: expected at most 32 axes");
  const bool single = type == py::detail::npy_api::NPY_FLOAT_;
  walk.axes = axes;
  walk.itemsize = single ? 4 : 8;
  py::ssize_t shape[most_axes];
  std::fill_n(shape, axes, 1);
  for (int k = 1; k <= count; k++) {
    const int shift = axes - held[k]->nd;
    for (int d = shift; d < axes; d++) {
      const py::ssize_t n = held[k]->dimensions[d - shift];
      if (n != 1 && shape[d] != 1 && shape[d] != n) throw py::value_error("run_loop: shapes do not broadcast");
      if (n != 1) shape[d] = n;
    }
  }
  py::array out = single ? empty(shape, axes) : empty(shape, axes, py::dtype::of<double>());
  const long size = long(out.size());
  if (size == 0) return out;
  walk.data[0] = static_cast<char*>(out.mutable_data());
  int64_t step = 1;
  for (int d = axes - 1; d >= 0; d--) {
    walk.sizes[d] = shape[d];
    walk.strides[0][d] = step;
    step *= shape[d];
  }
  for (int k = 1; k <= count; k++) {
    walk.data[k] = held[k]->data;
    const int shift = axes - held[k]->nd;
    for (int d = 0; d < axes; d++) {
      const bool repeats = d < shift || held[k]->dimensions[d - shift] == 1;
      const py::ssize_t stride = repeats ? 0 : held[k]->strides[d - shift];
      if (stride % walk.itemsize) throw py::value_error("run_loop: expected strides of whole elements");
      walk.strides[k][d] = stride / walk.itemsize;
    }
  }
  walk.merge();
  long bits = 0;
  for (int k = 1; k <= count; k++)
    if (walk.strides[k][walk.axes - 1] == 0) bits |= 1L << (k - 1);
  const auto key = py::reinterpret_steal<py::object>(PyLong_FromLong(bits));
  PyObject* address = PyDict_GetItemWithError(loops.ptr(), key.ptr());
  if (!address) {
    if (PyErr_Occurred()) throw py::error_already_set();
    return key;
  }
  const auto loop = reinterpret_cast<Loop>(PyLong_AsVoidPtr(address));
  Unlocked others(size > grain);
  parallel_ranges(size, grain, [&](long begin, long end) { walk.run(loop, begin, end); });
  return out;
}

}  // namespace

void bind_custom(py::module_& m) {
  m.def("run_loop", &run_loop, py::arg("loops"), py::arg("arrays"),
        "The result of a compiled loop over arrays that broadcast, new and in C order; or the bits of the loop that is "
        "wanted, where `loops` does not have it: bit k for an array k whose innermost stride is 0.");
}

}  // namespace weft
