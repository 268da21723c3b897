// LSTM and GRU cells.
#include "contiguous.h"
#include "rnn.h"

namespace weft {
namespace {

constexpr long unlock_units = 4096;

// `a` as contiguous (N, width), checked.
py::array matrix(const py::array& a, long N, long width, const char* name) {
  if (a.ndim() != 2 || a.shape(0) != N || a.shape(1) != width)
    throw py::value_error(std::string(name) + ": expected (" + std::to_string(N) + ", " + std::to_string(width) +
                          "), got " + shape_text(a));
  return contiguous(a, name);
}

struct Size {
  long N, H;
  Size(const py::array& state, const char* name) {
    if (state.ndim() != 2) throw py::value_error(std::string(name) + ": expected (N, H), got " + shape_text(state));
    N = state.shape(0), H = state.shape(1);
  }
};

py::tuple lstm_cell_of(const py::array& gates_in, const py::array& c_in) {
  Size s(c_in, "lstm_cell: c");
  py::array gates = matrix(gates_in, s.N, 4 * s.H, "lstm_cell: gates"), c = contiguous(c_in, "lstm_cell: c");
  py::array h = empty({s.N, s.H}), c_new = empty({s.N, s.H});
  float *to_h = pointer_out(h), *to_c = pointer_out(c_new);
  {
    Unlocked others(s.N * s.H > unlock_units);
    lstm_cell(pointer(gates), pointer(c), to_h, to_c, s.N, s.H);
  }
  return py::make_tuple(std::move(h), std::move(c_new));
}

py::tuple lstm_cell_backward_of(const py::object& gh_in, const py::object& gc_in, const py::array& gates_in,
                                const py::array& c_in, const py::array& c_new_in) {
  Size s(c_in, "lstm_cell_backward: c");
  py::array gates = matrix(gates_in, s.N, 4 * s.H, "lstm_cell_backward: gates");
  py::array c = contiguous(c_in, "lstm_cell_backward: c"), gh, gc;
  py::array c_new = matrix(c_new_in, s.N, s.H, "lstm_cell_backward: c_new");
  if (!gh_in.is_none()) gh = matrix(py::reinterpret_borrow<py::array>(gh_in), s.N, s.H, "lstm_cell_backward: gh");
  if (!gc_in.is_none()) gc = matrix(py::reinterpret_borrow<py::array>(gc_in), s.N, s.H, "lstm_cell_backward: gc");
  py::array ggates = empty({s.N, 4 * s.H}), gc_old = empty({s.N, s.H});
  float *to_gates = pointer_out(ggates), *to_c = pointer_out(gc_old);
  const float *h = gh_in.is_none() ? nullptr : pointer(gh), *k = gc_in.is_none() ? nullptr : pointer(gc);
  {
    Unlocked others(s.N * s.H > unlock_units);
    lstm_cell_backward(h, k, pointer(gates), pointer(c), pointer(c_new), to_gates, to_c, s.N, s.H);
  }
  return py::make_tuple(std::move(ggates), std::move(gc_old));
}

py::array gru_cell_of(const py::array& gi_in, const py::array& gh_in, const py::array& h_in) {
  Size s(h_in, "gru_cell: h");
  py::array gi = matrix(gi_in, s.N, 3 * s.H, "gru_cell: gi"), gh = matrix(gh_in, s.N, 3 * s.H, "gru_cell: gh");
  py::array h = contiguous(h_in, "gru_cell: h"), out = empty({s.N, s.H});
  float* to = pointer_out(out);
  Unlocked others(s.N * s.H > unlock_units);
  gru_cell(pointer(gi), pointer(gh), pointer(h), to, s.N, s.H);
  return out;
}

py::tuple gru_cell_backward_of(const py::array& g_in, const py::array& gi_in, const py::array& gh_in,
                               const py::array& h_in) {
  Size s(h_in, "gru_cell_backward: h");
  py::array g = matrix(g_in, s.N, s.H, "gru_cell_backward: g"), h = contiguous(h_in, "gru_cell_backward: h");
  py::array gi = matrix(gi_in, s.N, 3 * s.H, "gru_cell_backward: gi");
  py::array gh = matrix(gh_in, s.N, 3 * s.H, "gru_cell_backward: gh");
  py::array ggi = empty({s.N, 3 * s.H}), ggh = empty({s.N, 3 * s.H}), gh_old = empty({s.N, s.H});
  float *to_i = pointer_out(ggi), *to_h = pointer_out(ggh), *to_old = pointer_out(gh_old);
  {
    Unlocked others(s.N * s.H > unlock_units);
    gru_cell_backward(pointer(g), pointer(gi), pointer(gh), pointer(h), to_i, to_h, to_old, s.N, s.H);
  }
  return py::make_tuple(std::move(ggi), std::move(ggh), std::move(gh_old));
}

}  // namespace

void bind_rnn(py::module_& m) {
  m.def("lstm_cell", &lstm_cell_of, "gates (N, 4H), c (N, H) -> h, c_new (N, H).");
  m.def("lstm_cell_backward", &lstm_cell_backward_of, "gh, gc or None, gates, c, c_new -> gradients of gates and c.");
  m.def("gru_cell", &gru_cell_of, "gi, gh (N, 3H), h (N, H) -> h_new (N, H).");
  m.def("gru_cell_backward", &gru_cell_backward_of, "g, gi, gh, h -> gradients of gi, gh and h.");
}

}  // namespace weft
