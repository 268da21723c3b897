// Attention and rotary positions: arrays of heads, read where they lie as long as their last axis is contiguous.
#include <pybind11/pybind11.h>

#include "arrays.h"
#include "attention.h"
#include "rope.h"

namespace weft {
namespace {

std::string sizes(std::initializer_list<long> shape) {
  std::string text = "(";
  for (long n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + ")";
}

// A float32 array of this shape whose rows are contiguous; TypeError or ValueError names it otherwise.
HeadArray heads(const py::array& a, const char* name, long B, long H, long rows, long D) {
  if (!is_float32(a) || a.ndim() != 4 || a.shape(0) != B || a.shape(1) != H || a.shape(2) != rows || a.shape(3) != D)
    throw py::value_error(std::string(name) + ": expected a float32 array of shape " + sizes({B, H, rows, D}) +
                          ", got " + py::str(a.dtype()).cast<std::string>() + " " + shape_text(a));
  const long item = sizeof(float);
  bool whole = reinterpret_cast<uintptr_t>(a.data()) % item == 0 && (D < 2 || a.strides(3) == item);
  for (int i = 0; i < 3; i++) whole &= a.strides(i) % item == 0;
  if (!whole && a.size())
    throw py::value_error(std::string(name) + ": expected an array whose last axis is contiguous");
  return {static_cast<float*>(const_cast<void*>(a.data())), a.strides(0) / item, a.strides(1) / item,
          a.strides(2) / item};
}

HeadArray heads_out(py::array& a, const char* name, long B, long H, long rows, long D) {
  if (!a.writeable()) throw py::value_error(std::string(name) + ": expected a writeable array, got a read-only one");
  return heads(a, name, B, H, rows, D);
}

// A bool or float32 mask that broadcasts to (B, H, S, T), its last axis contiguous or of length one.
ScoreMask score_mask(const py::object& object, const long (&full)[4]) {
  ScoreMask m = {nullptr, nullptr, 0, 0, 0, 0};
  if (object.is_none()) return m;
  auto a = py::reinterpret_borrow<py::array>(object);
  const bool is_bool = a.dtype().kind() == 'b';
  const long item = is_bool ? 1 : sizeof(float), n = a.ndim();
  if (!is_bool && !is_float32(a)) throw py::type_error("mask: expected a bool or float32 array");
  long strides[4] = {0, 0, 0, 0};
  bool fits = n <= 4;
  for (long i = 0; fits && i < n; i++) {
    const long axis = 4 - n + i;
    fits = a.shape(i) == 1 || a.shape(i) == full[axis];
    if (a.shape(i) != 1) fits &= a.strides(i) % item == 0, strides[axis] = a.strides(i) / item;
  }
  if (!fits || strides[3] * (strides[3] - 1) != 0)
    throw py::value_error("mask: expected an array that broadcasts to " + sizes({full[0], full[1], full[2], full[3]}) +
                          " with a contiguous last axis, got " + shape_text(a));
  if (is_bool)
    m.keep = static_cast<const uint8_t*>(a.data());
  else
    m.add = static_cast<const float*>(a.data());
  m.batch = strides[0], m.head = strides[1], m.row = strides[2], m.key = strides[3];
  return m;
}

Attention problem(const py::array& q, const py::array& k, const py::array& v, const py::object& mask, float scale,
                  bool causal, const py::object& dropout) {
  if (q.ndim() != 4 || k.ndim() != 4 || v.ndim() != 4)
    throw py::value_error("attention: expected q, k and v of four axes, got " + shape_text(q) + ", " + shape_text(k) +
                          ", " + shape_text(v));
  Attention a = {};
  a.B = q.shape(0), a.H = q.shape(1), a.S = q.shape(2), a.D = q.shape(3), a.T = k.shape(2), a.Dv = v.shape(3);
  const long key_heads = k.shape(1);
  if (key_heads ? a.H % key_heads != 0 : a.H != 0)
    throw py::value_error("attention: expected the heads of q to be a multiple of those of k, got " + shape_text(q) +
                          " and " + shape_text(k));
  a.group = key_heads ? a.H / key_heads : 0;
  a.q = heads(q, "q", a.B, a.H, a.S, a.D);
  a.k = heads(k, "k", a.B, key_heads, a.T, a.D);
  a.v = heads(v, "v", a.B, key_heads, a.T, a.Dv);
  a.mask = score_mask(mask, {a.B, a.H, a.S, a.T});
  a.scale = scale;
  a.causal = causal;
  if (!dropout.is_none()) {  // (threshold, keep_scale, seed, offset)
    auto d = dropout.cast<std::tuple<uint32_t, float, uint64_t, uint64_t>>();
    a.dropout = true;
    std::tie(a.threshold, a.keep_scale, a.seed, a.offset) = d;
  }
  return a;
}

void bind_rope(py::module_& m) {
  m.def(
      "rope",
      [](const py::array& x, const py::array& cos, const py::array& sin, py::array out) {
        if (x.ndim() != 4) throw py::value_error("x: expected four axes, got " + shape_text(x));
        const long A = x.shape(0), B = x.shape(1), T = x.shape(2), D = x.shape(3);
        const float *c = floats(cos, "cos"), *s = floats(sin, "sin");
        if (D % 2 || cos.ndim() != 2 || cos.shape(0) != T || cos.shape(1) != D / 2 || sin.size() != cos.size())
          throw py::value_error("rope: expected cos and sin of shape " + sizes({T, D / 2}) + ", got " +
                                shape_text(cos) + " and " + shape_text(sin));
        const HeadArray from = heads(x, "x", A, B, T, D), to = heads_out(out, "out", A, B, T, D);
        Unlocked unlocked(x.size() > 16384);
        rope(from, to, c, s, A, B, T, D);
      },
      py::arg("x"), py::arg("cos"), py::arg("sin"), py::arg("out"), "Write the rotated rows of x (A, B, T, D) to out.");
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def(
      "attention",
      [](const py::array& q, const py::array& k, const py::array& v, const py::object& mask, py::array out, float scale,
         bool causal, const py::object& dropout) {
        const Attention a = problem(q, k, v, mask, scale, causal, dropout);
        const HeadArray to = heads_out(out, "out", a.B, a.H, a.S, a.Dv);
        py::array lse = empty({a.B, a.H, a.S});
        float* logs = floats_out(lse, "lse");
        Unlocked unlocked(true);
        attention(a, to, logs);
        return lse;
      },
      py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask"), py::arg("out"), py::arg("scale"), py::arg("causal"),
      py::arg("dropout"), "Write attention to out (B, H, S, Dv) and return lse (B, H, S).");
  m.def(
      "attention_backward",
      [](const py::array& g, const py::array& q, const py::array& k, const py::array& v, const py::object& mask,
         const py::array& out, const py::array& lse, py::array gq, py::array gk, py::array gv, float scale, bool causal,
         const py::object& dropout) {
        const Attention a = problem(q, k, v, mask, scale, causal, dropout);
        const long key_heads = k.shape(1);
        AttentionGrads d;
        d.g = heads(g, "g", a.B, a.H, a.S, a.Dv);
        d.out = heads(out, "out", a.B, a.H, a.S, a.Dv);
        d.lse = floats(lse, "lse");
        if (lse.size() != a.B * a.H * a.S)
          throw py::value_error("lse: expected shape " + sizes({a.B, a.H, a.S}) + ", got " + shape_text(lse));
        d.gq = heads_out(gq, "gq", a.B, a.H, a.S, a.D);
        d.gk = heads_out(gk, "gk", a.B, key_heads, a.T, a.D);
        d.gv = heads_out(gv, "gv", a.B, key_heads, a.T, a.Dv);
        Unlocked unlocked(true);
        attention_backward(a, d);
      },
      py::arg("g"), py::arg("q"), py::arg("k"), py::arg("v"), py::arg("mask"), py::arg("out"), py::arg("lse"),
      py::arg("gq"), py::arg("gk"), py::arg("gv"), py::arg("scale"), py::arg("causal"), py::arg("dropout"),
      "Write the gradients of q, k and v to gq, gk and gv.");
  bind_rope(m);
}

}  // namespace weft
