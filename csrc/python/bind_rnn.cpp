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
    lstm_cell_backward(h, nullptr, k, pointer(gates), pointer(c), pointer(c_new), to_gates, to_c, s.N, s.H);
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
    gru_cell_backward(pointer(g), nullptr, pointer(gi), pointer(gh), pointer(h), to_i, to_h, to_old, s.N, s.H);
  }
  return py::make_tuple(std::move(ggi), std::move(ggh), std::move(gh_old));
}

// -- whole layers ---------------------------------------------------------------------------------------------------

struct Layer {  // checked sizes of a layer with `gates` gates
  Sequence s;
  long G;
  Layer(const py::array& x, const py::array& w_hh, long gates, bool reverse, const char* name) {
    if (x.ndim() != 3 || w_hh.ndim() != 2 || w_hh.shape(0) != gates * w_hh.shape(1))
      throw py::value_error(std::string(name) + ": expected a sequence (T, N, F) and w_hh (" + std::to_string(gates) +
                            " * H, H), got " + shape_text(x) + " and " + shape_text(w_hh));
    s = {x.shape(0), x.shape(1), x.shape(2), w_hh.shape(1), reverse};
    G = gates * s.H;
  }
  py::array over_time(const py::array& a, long width, const char* name) const {
    if (a.ndim() != 3 || a.shape(0) != s.T)
      throw py::value_error(std::string(name) + ": expected " + std::to_string(s.T) + " steps, got " + shape_text(a));
    if (a.shape(1) != s.N || a.shape(2) != width)
      throw py::value_error(std::string(name) + ": expected (T, " + std::to_string(s.N) + ", " + std::to_string(width) +
                            "), got " + shape_text(a));
    return contiguous(a, name);
  }
  py::array new_over_time(long width) const { return empty({s.T, s.N, width}); }
};

// An optional array: contiguous in `kept`, or null.
const float* state_or_null(const py::object& a, const Layer& of, const char* name, py::array& kept) {
  if (a.is_none()) return nullptr;
  kept = matrix(py::reinterpret_borrow<py::array>(a), of.s.N, of.s.H, name);
  return pointer(kept);
}
const float* outputs_or_null(const py::object& a, const Layer& of, const char* name, py::array& kept) {
  if (a.is_none()) return nullptr;
  kept = of.over_time(py::reinterpret_borrow<py::array>(a), of.s.H, name);
  return pointer(kept);
}
const float* bias_or_null(const py::object& a, const Layer& of, const char* name, py::array& kept) {
  if (a.is_none()) return nullptr;
  kept = contiguous(py::reinterpret_borrow<py::array>(a), name);
  if (kept.size() != of.G)
    throw py::value_error(std::string(name) + ": expected one for each gate, got " + shape_text(kept));
  return pointer(kept);
}

py::tuple lstm_layer_of(const py::array& x_in, const py::array& h0_in, const py::array& c0_in, const py::array& w_ih_in,
                        const py::array& w_hh_in, const py::object& bias, bool reverse) {
  py::array x = contiguous(x_in, "lstm_layer: x"), w_hh = contiguous(w_hh_in, "lstm_layer: w_hh"), kept;
  Layer of(x, w_hh, 4, reverse, "lstm_layer");
  py::array w_ih = matrix(w_ih_in, of.G, of.s.I, "lstm_layer: w_ih");
  py::array h0 = matrix(h0_in, of.s.N, of.s.H, "lstm_layer: h0"), c0 = matrix(c0_in, of.s.N, of.s.H, "lstm_layer: c0");
  const float* b = bias_or_null(bias, of, "lstm_layer: bias", kept);
  py::array hs = of.new_over_time(of.s.H), gates = of.new_over_time(of.G), cs = of.new_over_time(of.s.H);
  if (hs.size()) {
    float *to_h = pointer_out(hs), *to_gates = pointer_out(gates), *to_c = pointer_out(cs);
    Unlocked others(gates.size() > unlock_units);
    lstm_layer(of.s, pointer(x), pointer(h0), pointer(c0), pointer(w_ih), pointer(w_hh), b, to_h, to_gates, to_c);
  }
  return py::make_tuple(std::move(hs), std::move(gates), std::move(cs));
}

py::tuple lstm_layer_backward_of(const py::array& gates_in, const py::array& cs_in, const py::array& c0_in,
                                 const py::array& w_hh_in, const py::object& gy_in, const py::object& gh_in,
                                 const py::object& gc_in, bool reverse) {
  py::array w_hh = contiguous(w_hh_in, "lstm_layer_backward: w_hh"), kept_y, kept_h, kept_c;
  Layer of(cs_in, w_hh, 4, reverse, "lstm_layer_backward");
  py::array gates = of.over_time(gates_in, of.G, "lstm_layer_backward: gates");
  py::array cs = of.over_time(cs_in, of.s.H, "lstm_layer_backward: cs");
  py::array c0 = matrix(c0_in, of.s.N, of.s.H, "lstm_layer_backward: c0");
  const float* gy = outputs_or_null(gy_in, of, "lstm_layer_backward: gy", kept_y);
  const float* gh = state_or_null(gh_in, of, "lstm_layer_backward: gh", kept_h);
  const float* gc = state_or_null(gc_in, of, "lstm_layer_backward: gc", kept_c);
  py::array ggates = of.new_over_time(of.G), gh0 = empty({of.s.N, of.s.H}), gc0 = empty({of.s.N, of.s.H});
  float *to_gates = pointer_out(ggates), *to_h = pointer_out(gh0), *to_c = pointer_out(gc0);
  {
    Unlocked others(gates.size() > unlock_units);
    lstm_layer_backward(of.s, pointer(gates), pointer(cs), pointer(c0), pointer(w_hh), gy, gh, gc, to_gates, to_h,
                        to_c);
  }
  return py::make_tuple(std::move(ggates), std::move(gh0), std::move(gc0));
}

py::tuple gru_layer_of(const py::array& x_in, const py::array& h0_in, const py::array& w_ih_in,
                       const py::array& w_hh_in, const py::object& b_ih, const py::object& b_hh, bool reverse) {
  py::array x = contiguous(x_in, "gru_layer: x"), w_hh = contiguous(w_hh_in, "gru_layer: w_hh"), kept_i, kept_h;
  Layer of(x, w_hh, 3, reverse, "gru_layer");
  py::array w_ih = matrix(w_ih_in, of.G, of.s.I, "gru_layer: w_ih"),
            h0 = matrix(h0_in, of.s.N, of.s.H, "gru_layer: h0");
  const float *bi = bias_or_null(b_ih, of, "gru_layer: b_ih", kept_i),
              *bh = bias_or_null(b_hh, of, "gru_layer: b_hh", kept_h);
  py::array hs = of.new_over_time(of.s.H), inputs = of.new_over_time(of.G), recurrents = of.new_over_time(of.G);
  if (hs.size()) {
    float *to_h = pointer_out(hs), *to_i = pointer_out(inputs), *to_r = pointer_out(recurrents);
    Unlocked others(inputs.size() > unlock_units);
    gru_layer(of.s, pointer(x), pointer(h0), pointer(w_ih), pointer(w_hh), bi, bh, to_h, to_i, to_r);
  }
  return py::make_tuple(std::move(hs), std::move(inputs), std::move(recurrents));
}

py::tuple gru_layer_backward_of(const py::array& inputs_in, const py::array& recurrents_in, const py::array& hs_in,
                                const py::array& h0_in, const py::array& w_hh_in, const py::object& gy_in,
                                const py::object& gh_in, bool reverse) {
  py::array w_hh = contiguous(w_hh_in, "gru_layer_backward: w_hh"), kept_y, kept_h;
  Layer of(hs_in, w_hh, 3, reverse, "gru_layer_backward");
  py::array inputs = of.over_time(inputs_in, of.G, "gru_layer_backward: inputs");
  py::array recurrents = of.over_time(recurrents_in, of.G, "gru_layer_backward: recurrents");
  py::array hs = of.over_time(hs_in, of.s.H, "gru_layer_backward: hs");
  py::array h0 = matrix(h0_in, of.s.N, of.s.H, "gru_layer_backward: h0");
  const float* gy = outputs_or_null(gy_in, of, "gru_layer_backward: gy", kept_y);
  const float* gh = state_or_null(gh_in, of, "gru_layer_backward: gh", kept_h);
  py::array ginputs = of.new_over_time(of.G), grecurrents = of.new_over_time(of.G), gh0 = empty({of.s.N, of.s.H});
  float *to_i = pointer_out(ginputs), *to_r = pointer_out(grecurrents), *to_h = pointer_out(gh0);
  {
    Unlocked others(inputs.size() > unlock_units);
    gru_layer_backward(of.s, pointer(inputs), pointer(recurrents), pointer(hs), pointer(h0), pointer(w_hh), gy, gh,
                       to_i, to_r, to_h);
  }
  return py::make_tuple(std::move(ginputs), std::move(grecurrents), std::move(gh0));
}

}  // namespace

void bind_rnn(py::module_& m) {
  m.def("lstm_cell", &lstm_cell_of, "gates (N, 4H), c (N, H) -> h, c_new (N, H).");
  m.def("lstm_cell_backward", &lstm_cell_backward_of, "gh, gc or None, gates, c, c_new -> gradients of gates and c.");
  m.def("gru_cell", &gru_cell_of, "gi, gh (N, 3H), h (N, H) -> h_new (N, H).");
  m.def("gru_cell_backward", &gru_cell_backward_of, "g, gi, gh, h -> gradients of gi, gh and h.");
  m.def("lstm_layer", &lstm_layer_of, "x, h0, c0, w_ih, w_hh, bias or None, reverse -> hs, gates, cs over time.");
  m.def("lstm_layer_backward", &lstm_layer_backward_of,
        "gates, cs, c0, w_hh, gy, gh, gc (or None), reverse -> gradients of the gates over time, h0 and c0.");
  m.def("gru_layer", &gru_layer_of, "x, h0, w_ih, w_hh, b_ih, b_hh (or None), reverse -> hs, inputs, recurrents.");
  m.def("gru_layer_backward", &gru_layer_backward_of,
        "inputs, recurrents, hs, h0, w_hh, gy, gh (or None), reverse -> gradients of inputs, recurrents and h0.");
}

}  // namespace weft
