// weft._cpu: the fast entries of the CPU. Each family binds itself in bind_<family>.cpp; arguments are checked there, and
// a family's Python side is weft/backends/cpu/<family>.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "alloc.h"
#include "arrays.h"
#include "isa.h"
#include "pool.h"

namespace py = pybind11;

namespace weft {

// One line per family, here and at the end of this file.
void bind_attention(py::module_& m);
void bind_conv(py::module_& m);
void bind_custom(py::module_& m);
void bind_embedding(py::module_& m);
void bind_gemm(py::module_& m);
void bind_map(py::module_& m);
void bind_optimizer(py::module_& m);
void bind_pool(py::module_& m);
void bind_random(py::module_& m);
void bind_rnn(py::module_& m);
void bind_rowwise(py::module_& m);

void bind_core(py::module_& m) {
  m.def("num_threads", &num_threads, "Threads that an op may use: WEFT_NUM_THREADS, else this process's CPUs.");
  m.def(
      "isa", [] { return isa_name(isa()); },
      "The instruction set in use: 'v4' (AVX-512), 'v3' (AVX2) or 'v1' (SSE2, or generic vectors). WEFT_ISA sets it.");
  m.def(
      "supported_isas",
      [] {
        py::list names;
        for (Isa i : supported_isas()) names.append(isa_name(i));
        return names;
      },
      "The instruction sets that this processor has, widest first.");
  m.def(
      "empty", [](const Shape& shape) { return empty(shape); }, py::arg("shape"),
      "A float32 array of this shape, contents unspecified, from the caching allocator.");
  m.def(
      "is_block", [](py::handle base) { return is_block(base); }, py::arg("base"),
      "Whether the base of an array is memory of the caching allocator.");
  m.def(
      "in_c_order", [](const py::array& a) { return is_float32(a) ? py::object(in_c_order(a)) : py::none(); },
      py::arg("a"), "A float32 array in C order, itself if it already is; None for another dtype.");
  m.def(
      "memory",
      [] {
        MemoryUse use = memory_use();
        return py::dict(py::arg("live") = use.live, py::arg("cached") = use.cached, py::arg("peak") = use.peak);
      },
      "Bytes in large arrays of the extension: live, cached for reuse, and the most ever live.");
  m.def("release_cached", &release_cached, "Return the memory cached for reuse to the system.");
}

}  // namespace weft

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "Weft's CPU kernels over float32 NumPy arrays.";
  weft::isa();  // a wrong WEFT_ISA fails here, as an ImportError's cause, not in the middle of a run
  weft::bind_core(m);
  weft::bind_gemm(m);
  weft::bind_map(m);
  weft::bind_random(m);
  weft::bind_attention(m);
  weft::bind_conv(m);
  weft::bind_custom(m);
  weft::bind_embedding(m);
  weft::bind_pool(m);
  weft::bind_rowwise(m);
  weft::bind_rnn(m);
  weft::bind_optimizer(m);
}
