// Rows by index, and sums of rows by index.
#include <pybind11/pybind11.h>

#include <cstring>

#include "arrays.h"
#include "embedding.h"
#include "pool.h"

namespace weft {

namespace {

// Rows of a matrix; None for what NumPy should do, or refuse.
py::object take_rows(const py::array& x, const py::array& indices) {
  const bool plain = is_float32(x) && (x.flags() & py::array::c_style) && x.ndim() == 2;
  if (!plain || !indices.dtype().equal(py::dtype::of<int64_t>()) || !(indices.flags() & py::array::c_style))
    return py::none();
  const long n = indices.size(), rows = x.shape(0), D = x.shape(1);
  const auto* index = static_cast<const int64_t*>(indices.data());
  for (long i = 0; i < n; i++)
    if (index[i] < 0 || index[i] >= rows) return py::none();
  Shape shape(indices.shape(), indices.shape() + indices.ndim());
  shape.push_back(D);
  py::array out = empty(shape);
  const auto* from = static_cast<const float*>(x.data());
  auto* to = static_cast<float*>(out.mutable_data());
  Unlocked unlocked(n * D > 16384);
  parallel_ranges(n, 16384 / (D + 1) + 1, [=](long first, long last) {
    for (long i = first; i < last; i++) std::memcpy(to + i * D, from + index[i] * D, size_t(D) * sizeof(float));
  });
  return out;
}

}  // namespace

void bind_embedding(py::module_& m) {
  m.def("take_rows", &take_rows, py::arg("x"), py::arg("indices"),
        "x[indices] of a plain float32 matrix by plain int64 indices within [0, rows); None for all else.");
  m.def(
      "scatter_add",
      [](const py::array& g, const py::array& indices, long rows) {
        const float* from = floats(g, "g");
        const int64_t* index = data_of<int64_t>(indices, "indices");
        const long n = indices.size(), D = g.ndim() ? g.shape(g.ndim() - 1) : 0;
        if (!g.ndim() || g.size() != n * D || rows < 0)
          throw py::value_error("scatter_add: expected g of shape (*indices.shape, D), got " + shape_text(g) +
                                " for indices " + shape_text(indices));
        for (long i = 0; i < n; i++)
          if (index[i] < 0 || index[i] >= rows)
            throw py::index_error("scatter_add: expected indices in [0, " + std::to_string(rows) + "), got " +
                                  std::to_string(index[i]) + " at position " + std::to_string(i));
        py::array out = empty({rows, D});
        float* to = floats_out(out, "out");
        Unlocked unlocked(g.size() + out.size() > 16384);
        scatter_add(from, index, to, n, rows, D);
        return out;
      },
      py::arg("g"), py::arg("indices"), py::arg("rows"), "Row r of the result: the sum of the rows of g of index r.");
}

}  // namespace weft
