// Random numbers, dropout.
#include <pybind11/pybind11.h>

#include "arrays.h"
#include "random.h"

namespace weft {
namespace {

void check_offset(uint64_t offset) {
  if (offset % 4)
    throw py::value_error("random: expected an offset that is a multiple of 4, got " + std::to_string(offset));
}

// Fills a writeable array of T with fill(out, n, seed, offset).
template <class T>
void fill(py::array out, uint64_t seed, uint64_t offset, void (*make)(T*, long, uint64_t, uint64_t)) {
  check_array(out, "out", py::dtype::of<T>());
  check_offset(offset);
  T* data = static_cast<T*>(out.mutable_data());  // raises unless writeable
  Unlocked unlocked(out.size() > 16384);
  make(data, long(out.size()), seed, offset);
}

}  // namespace

void bind_random(py::module_& m) {
  m.def(
      "random_bits",
      [](py::array out, uint64_t seed, uint64_t offset) { fill<uint32_t>(out, seed, offset, &random_bits); },
      py::arg("out"), py::arg("seed"), py::arg("offset"), "Fill uint32 `out` with words of a stream.");
  m.def(
      "random_uniform",
      [](py::array out, uint64_t seed, uint64_t offset) {
        if (is_float32(out)) return fill<float>(out, seed, offset, &random_uniform);
        fill<double>(out, seed, offset, &random_uniform);
      },
      py::arg("out"), py::arg("seed"), py::arg("offset"), "Fill float32 or float64 `out` with uniforms in [0, 1).");
  m.def(
      "random_normal",
      [](py::array out, uint64_t seed, uint64_t offset) {
        if (is_float32(out)) return fill<float>(out, seed, offset, &random_normal);
        fill<double>(out, seed, offset, &random_normal);
      },
      py::arg("out"), py::arg("seed"), py::arg("offset"), "Fill float32 or float64 `out` with standard normals.");
  m.def(
      "dropout",
      [](const py::array& x, uint32_t threshold, float scale, uint64_t seed, uint64_t offset) {
        const float* in = floats(x, "x");
        check_offset(offset);
        py::array y = empty_like(x);
        float* out = floats_out(y, "out");
        Unlocked unlocked(x.size() > 16384);
        dropout(in, out, long(x.size()), threshold, scale, seed, offset);
        return y;
      },
      py::arg("x"), py::arg("threshold"), py::arg("scale"), py::arg("seed"), py::arg("offset"),
      "x where the uniform of an element is at least threshold / 2**24, times scale; 0 elsewhere.");
}

}  // namespace weft
