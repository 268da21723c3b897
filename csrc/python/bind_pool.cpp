// Pooling and batch normalisation.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <tuple>

#include "arrays.h"
#include "batch_norm.h"
#include "contiguous.h"
#include "pooling.h"

namespace weft {
namespace {

using Pair = std::pair<long, long>;
using Sides = std::pair<Pair, Pair>;  // ((top, bottom), (left, right))
using Extents = std::vector<long>;

Extents extents(const py::array& a) { return Extents(a.shape(), a.shape() + a.ndim()); }

Pooling problem(const char* op, const Extents& x, Pair kernel, Pair stride, Sides padding, Pair dilation) {
  auto refuse = [&](const std::string& what) { throw py::value_error(std::string(op) + ": expected " + what); };
  if (x.size() != 4) refuse("x (N, C, H, W)");
  auto [top, bottom] = padding.first;
  auto [left, right] = padding.second;
  Pooling v{};
  v.planes = x[0] * x[1], v.H = x[2], v.W = x[3], v.KH = kernel.first, v.KW = kernel.second;
  v.sh = stride.first, v.sw = stride.second, v.dh = dilation.first, v.dw = dilation.second;
  v.top = top, v.left = left;
  if (std::min({v.sh, v.sw, v.dh, v.dw, v.KH, v.KW}) < 1 || std::min({top, bottom, left, right}) < 0)
    refuse("positive stride, dilation and kernel, and padding of at least 0");
  if (std::max({v.sh, v.sw, v.dh, v.dw, v.KH, v.KW, top, bottom, left, right, v.H, v.W}) > 1L << 28)
    refuse("extents below 2**28");
  long height = v.H + top + bottom - v.dh * (v.KH - 1), width = v.W + left + right - v.dw * (v.KW - 1);
  if (height < 1 || width < 1) refuse("an image of at least the kernel's size");
  v.OH = (height - 1) / v.sh + 1;
  v.OW = (width - 1) / v.sw + 1;
  return v;
}

void check_output(const char* op, const Extents& shape, const Pooling& v, const py::array& g) {
  if (extents(g) != Extents{shape[0], shape[1], v.OH, v.OW})
    throw py::value_error(std::string(op) + ": expected the output's shape, got " + shape_text(g));
}

bool is_long(const Pooling& v) { return v.planes * v.OH * v.OW * v.taps() > 65536; }

py::dtype tap_type(const Pooling& v) { return v.taps() <= 256 ? py::dtype::of<uint8_t>() : py::dtype::of<int32_t>(); }

// A new array for a gradient; true if it is left to fill (no windows or no pixels: zeros).
bool to_fill(py::array& gx, const py::array& g) {
  if (gx.size() && g.size()) return true;
  std::fill(pointer_out(gx), pointer_out(gx) + gx.size(), 0.f);
  return false;
}

py::tuple max_forward(const py::array& x_, Pair kernel, Pair stride, Sides padding, Pair dilation) {
  py::array x = contiguous(x_, "x");
  Extents shape = extents(x);
  Pooling v = problem("max_pool2d", shape, kernel, stride, padding, dilation);
  Shape made{shape[0], shape[1], v.OH, v.OW};
  py::array out = empty(made), taps = empty(made.data(), 4, tap_type(v));
  float* to = pointer_out(out);
  bool small = v.taps() <= 256;
  auto tap = taps.mutable_data();
  if (out.size() && !x.size()) throw py::value_error("max_pool2d: expected an image of at least one pixel");
  if (out.size()) {
    Unlocked unlocked(is_long(v));
    max_pool(v, pointer(x), to, small ? static_cast<uint8_t*>(tap) : nullptr,
             small ? nullptr : static_cast<int32_t*>(tap));
  }
  return py::make_tuple(out, taps);
}

py::array max_backward(const py::array& g_, const py::array& taps_, const Extents& shape, Pair kernel, Pair stride,
                       Sides padding, Pair dilation) {
  py::array g = contiguous(g_, "g");
  Pooling v = problem("max_pool2d_backward", shape, kernel, stride, padding, dilation);
  py::array taps = taps_.flags() & py::array::c_style ? taps_ : py::array(taps_.attr("copy")());
  check_output("max_pool2d_backward", shape, v, g);
  check_output("max_pool2d_backward", shape, v, taps);
  if (!taps.dtype().is(tap_type(v)))
    throw py::type_error("max_pool2d_backward: expected taps as max_pool2d gives them");
  py::array gx = empty({shape[0], shape[1], v.H, v.W});
  float* to = pointer_out(gx);
  if (!to_fill(gx, g)) return gx;
  bool small = v.taps() <= 256;
  const void* tap = taps.data();
  Unlocked unlocked(is_long(v));
  max_pool_backward(v, pointer(g), small ? static_cast<const uint8_t*>(tap) : nullptr,
                    small ? nullptr : static_cast<const int32_t*>(tap), to);
  return gx;
}

py::array avg_forward(const py::array& x_, Pair kernel, Pair stride, Sides padding, bool count_include_pad) {
  py::array x = contiguous(x_, "x");
  Extents shape = extents(x);
  Pooling v = problem("avg_pool2d", shape, kernel, stride, padding, {1, 1});
  v.count_padding = count_include_pad;
  py::array out = empty({shape[0], shape[1], v.OH, v.OW});
  float* to = pointer_out(out);
  if (!to_fill(out, x)) return out;
  Unlocked unlocked(is_long(v));
  avg_pool(v, pointer(x), to);
  return out;
}

py::array avg_backward(const py::array& g_, const Extents& shape, Pair kernel, Pair stride, Sides padding,
                       bool count_include_pad) {
  py::array g = contiguous(g_, "g");
  Pooling v = problem("avg_pool2d_backward", shape, kernel, stride, padding, {1, 1});
  v.count_padding = count_include_pad;
  check_output("avg_pool2d_backward", shape, v, g);
  py::array gx = empty({shape[0], shape[1], v.H, v.W});
  float* to = pointer_out(gx);
  if (!to_fill(gx, g)) return gx;
  Unlocked unlocked(is_long(v));
  avg_pool_backward(v, pointer(g), to);
  return gx;
}

std::tuple<long, long, long> channels(const char* op, const py::array& x) {
  if (x.ndim() < 2 || !x.size())
    throw py::value_error(std::string(op) + ": expected x (N, C, ...) with values in it, got " + shape_text(x));
  long N = x.shape(0), C = x.shape(1);
  return {N, C, long(x.size()) / (N * C)};
}

py::array per_channel(const py::object& a, const char* name, long C) {
  py::array made = contiguous(py::reinterpret_borrow<py::array>(a), name);
  if (made.ndim() != 1 || made.size() != C)
    throw py::value_error(std::string("batch_norm: expected ") + name + " of one value per channel, got " +
                          shape_text(made));
  return made;
}

// Arguments that both ways forward share, in memory as the kernels read it.
struct Scaling {
  py::array x, weight, bias, residual;
  long N, C, P;
  const float *scale = nullptr, *shift = nullptr, *added = nullptr;

  Scaling(const char* op, const py::array& x_, const py::object& weight_, const py::object& bias_,
          const py::object& residual_)
      : x(contiguous(x_, "x")) {
    std::tie(N, C, P) = channels(op, x);
    if (!weight_.is_none()) scale = pointer(weight = per_channel(weight_, "weight", C));
    if (!bias_.is_none()) shift = pointer(bias = per_channel(bias_, "bias", C));
    if (residual_.is_none()) return;
    added = pointer(residual = contiguous(py::reinterpret_borrow<py::array>(residual_), "residual"));
    if (extents(residual) != extents(x))
      throw py::value_error(std::string(op) + ": expected residual of x's shape " + shape_text(x) + ", got " +
                            shape_text(residual));
  }
};

py::tuple norm_forward(const py::array& x, const py::object& weight, const py::object& bias, const py::object& residual,
                       bool relu, float eps) {
  Scaling v("batch_norm", x, weight, bias, residual);
  py::array out = empty_like(v.x), mean = empty({v.C}), var = empty({v.C});
  float *to = pointer_out(out), *m = pointer_out(mean), *s = pointer_out(var);
  {
    Unlocked unlocked(v.x.size() > 16384);
    batch_norm(v.N, v.C, v.P, pointer(v.x), v.scale, v.shift, v.added, relu, eps, to, m, s);
  }
  return py::make_tuple(out, mean, var);
}

py::array norm_inference(const py::array& x, const py::object& weight, const py::object& bias, const py::object& mean_,
                         const py::object& var_, const py::object& residual, bool relu, float eps) {
  Scaling v("batch_norm_inference", x, weight, bias, residual);
  py::array mean = per_channel(mean_, "mean", v.C), var = per_channel(var_, "var", v.C), out = empty_like(v.x);
  float* to = pointer_out(out);
  {
    Unlocked unlocked(v.x.size() > 16384);
    batch_norm_inference(v.N, v.C, v.P, pointer(v.x), v.scale, v.shift, pointer(mean), pointer(var), v.added, relu, eps,
                         to);
  }
  return out;
}

py::tuple norm_backward(const py::array& g_, const py::array& x_, const py::object& weight_, const py::object& mean_,
                        const py::object& var_, float eps, bool spare) {
  py::array g = contiguous(g_, "g"), x = contiguous(x_, "x"), weight;
  auto [N, C, P] = channels("batch_norm_backward", x);
  if (extents(g) != extents(x))
    throw py::value_error("batch_norm_backward: expected g of x's shape " + shape_text(x) + ", got " + shape_text(g));
  const float* scale = nullptr;
  if (!weight_.is_none()) scale = pointer(weight = per_channel(weight_, "weight", C));
  py::array mean = per_channel(mean_, "mean", C), var = per_channel(var_, "var", C);
  py::array gx = gradient_like(g, spare), gw = empty({C}), gb = empty({C});
  float *to = pointer_out(gx), *w = pointer_out(gw), *b = pointer_out(gb);
  {
    Unlocked unlocked(x.size() > 16384);
    batch_norm_backward(N, C, P, pointer(g), pointer(x), scale, pointer(mean), pointer(var), eps, to, w, b);
  }
  return py::make_tuple(gx, gw, gb);
}

}  // namespace

void bind_pool(py::module_& m) {
  m.def("max_pool2d", &max_forward, py::arg("x"), py::kw_only(), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), "x (N, C, H, W) -> maxima (N, C, OH, OW) and their taps.");
  m.def("max_pool2d_backward", &max_backward, py::arg("g"), py::arg("taps"), py::kw_only(), py::arg("shape"),
        py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
        "g and taps (N, C, OH, OW) -> the gradient of x, whose shape is given.");
  m.def("avg_pool2d", &avg_forward, py::arg("x"), py::kw_only(), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("count_include_pad"), "x (N, C, H, W) -> means (N, C, OH, OW).");
  m.def("avg_pool2d_backward", &avg_backward, py::arg("g"), py::kw_only(), py::arg("shape"), py::arg("kernel"),
        py::arg("stride"), py::arg("padding"), py::arg("count_include_pad"),
        "g (N, C, OH, OW) -> the gradient of x, whose shape is given.");
  m.def("batch_norm", &norm_forward, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("residual") = py::none(),
        py::kw_only(), py::arg("relu") = false, py::arg("eps"),
        "x (N, C, ...), weight and bias (C,) or None, residual as x or None -> out, mean (C,), biased variance (C,).");
  m.def("batch_norm_inference", &norm_inference, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("mean"),
        py::arg("var"), py::arg("residual") = py::none(), py::kw_only(), py::arg("relu") = false, py::arg("eps"),
        "x (N, C, ...), weight and bias (C,) or None, mean and var (C,), residual as x or None -> out.");
  m.def("batch_norm_backward", &norm_backward, py::arg("g"), py::arg("x"), py::arg("weight"), py::arg("mean"),
        py::arg("var"), py::kw_only(), py::arg("eps"), py::arg("spare") = false,
        "Gradients of x (over g if that is spare), weight (C,) and bias (C,).");
}

}  // namespace weft
