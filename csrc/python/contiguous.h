// Arguments of kernels that want plain rows: contiguous float32, copied where they lie otherwise.
#pragma once
#include "arrays.h"

namespace weft {

// `a` as C-contiguous float32; TypeError names the argument for another dtype.
inline py::array contiguous(const py::array& a, const char* name) {
  if (!is_float32(a))
    throw py::type_error(std::string(name) + ": expected float32, got " + py::str(a.dtype()).cast<std::string>());
  return in_c_order(a);
}

inline const float* pointer(const py::array& a) { return static_cast<const float*>(a.data()); }
inline float* pointer_out(py::array& a) { return static_cast<float*>(a.mutable_data()); }
inline py::array new_like(const py::array& a) { return empty(a.shape(), int(a.ndim())); }
// Where the gradient of x goes: over g, if that is spare, or into new memory.
inline py::array gradient_like(const py::array& g, bool spare) { return spare && g.writeable() ? g : new_like(g); }

}  // namespace weft
