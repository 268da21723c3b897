// Sums of rows by index.
#include <pybind11/pybind11.h>

#include "arrays.h"
#include "embedding.h"

namespace weft {

void bind_embedding(py::module_& m) {
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
