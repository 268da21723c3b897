// Convolution and its gradients.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "arrays.h"
#include "contiguous.h"
#include "conv.h"

namespace weft {
namespace {

using Pair = std::pair<long, long>;
using Sides = std::pair<Pair, Pair>;  // ((top, bottom), (left, right))
using Extents = std::vector<long>;

Extents extents(const py::array& a) { return Extents(a.shape(), a.shape() + a.ndim()); }

// The one check of all three: shapes that a convolution can have.
Conv problem(const char* op, const Extents& x, const Extents& weight, Pair stride, Sides padding, Pair dilation,
             long groups) {
  auto refuse = [&](const std::string& what) { throw py::value_error(std::string(op) + ": expected " + what); };
  if (x.size() != 4 || weight.size() != 4) refuse("x (N, C, H, W) and weight (O, C/groups, KH, KW)");
  auto [top, bottom] = padding.first;
  auto [left, right] = padding.second;
  Conv v{};
  v.N = x[0], v.C = x[1], v.H = x[2], v.W = x[3], v.O = weight[0], v.KH = weight[2], v.KW = weight[3];
  v.sh = stride.first, v.sw = stride.second, v.dh = dilation.first, v.dw = dilation.second;
  v.top = top, v.left = left, v.groups = groups;
  if (std::min({v.sh, v.sw, v.dh, v.dw, v.KH, v.KW, groups}) < 1 || std::min({top, bottom, left, right}) < 0)
    refuse("positive stride, dilation, kernel and groups, and padding of at least 0");
  if (std::max({v.sh, v.sw, v.dh, v.dw, v.KH, v.KW, top, bottom, left, right, v.H, v.W}) > 1L << 28)
    refuse("extents below 2**28");
  if (weight[1] * groups != v.C || v.O % groups) refuse("channels that fit the weight and groups");
  long height = v.H + top + bottom - v.dh * (v.KH - 1), width = v.W + left + right - v.dw * (v.KW - 1);
  if (height < 1 || width < 1) refuse("an image of at least the kernel's size");
  v.OH = (height - 1) / v.sh + 1;
  v.OW = (width - 1) / v.sw + 1;
  return v;
}

void check_output(const char* op, const Conv& v, const py::array& g) {
  if (extents(g) != Extents{v.N, v.O, v.OH, v.OW})
    throw py::value_error(std::string(op) + ": expected g of the output's shape, got " + shape_text(g));
}

bool is_long(const Conv& v) { return double(v.N) * v.O * v.OH * v.OW * v.C / v.groups * v.KH * v.KW > 1e6; }

py::array forward(const py::array& x_, const py::array& weight_, const py::object& bias_, Pair stride, Sides padding,
                  Pair dilation, long groups) {
  py::array x = contiguous(x_, "x"), weight = contiguous(weight_, "weight"), bias;
  Conv v = problem("conv2d", extents(x), extents(weight), stride, padding, dilation, groups);
  const float* add = nullptr;
  if (!bias_.is_none()) {
    bias = contiguous(py::reinterpret_borrow<py::array>(bias_), "bias");
    if (bias.ndim() != 1 || bias.size() != v.O) throw py::value_error("conv2d: expected bias of the output's channels");
    add = pointer(bias);
  }
  py::array out = empty({v.N, v.O, v.OH, v.OW});
  if (!out.size()) return out;
  float* to = pointer_out(out);
  if (!x.size()) {  // no channels: nothing to add to the bias
    long plane = v.OH * v.OW;
    for (long m = 0; m < v.N * v.O; m++) std::fill(to + m * plane, to + (m + 1) * plane, add ? add[m % v.O] : 0.f);
    return out;
  }
  Unlocked unlocked(is_long(v));
  conv2d(v, pointer(x), pointer(weight), add, to);
  return out;
}

py::array input_grad(const py::array& g_, const py::array& weight_, const Extents& shape, Pair stride, Sides padding,
                     Pair dilation, long groups) {
  py::array g = contiguous(g_, "g"), weight = contiguous(weight_, "weight");
  Conv v = problem("conv2d_input_grad", shape, extents(weight), stride, padding, dilation, groups);
  check_output("conv2d_input_grad", v, g);
  py::array gx = empty({v.N, v.C, v.H, v.W});
  float* to = pointer_out(gx);
  if (!gx.size() || !g.size()) {
    std::fill(to, to + gx.size(), 0.f);
    return gx;
  }
  Unlocked unlocked(is_long(v));
  conv2d_input_grad(v, pointer(g), pointer(weight), to);
  return gx;
}

py::array weight_grad(const py::array& g_, const py::array& x_, const Extents& shape, Pair stride, Sides padding,
                      Pair dilation, long groups) {
  py::array g = contiguous(g_, "g"), x = contiguous(x_, "x");
  Conv v = problem("conv2d_weight_grad", extents(x), shape, stride, padding, dilation, groups);
  check_output("conv2d_weight_grad", v, g);
  py::array gw = empty({v.O, v.C / groups, v.KH, v.KW});
  float* to = pointer_out(gw);
  if (!gw.size() || !g.size() || !x.size()) {
    std::fill(to, to + gw.size(), 0.f);
    return gw;
  }
  Unlocked unlocked(is_long(v));
  conv2d_weight_grad(v, pointer(g), pointer(x), to);
  return gw;
}

}  // namespace

void bind_conv(py::module_& m) {
  m.def("conv2d", &forward, py::arg("x"), py::arg("weight"), py::arg("bias"), py::kw_only(), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        "x (N, C, H, W), weight (O, C/groups, KH, KW), bias (O,) or None -> (N, O, OH, OW).");
  m.def("conv2d_input_grad", &input_grad, py::arg("g"), py::arg("weight"), py::kw_only(), py::arg("shape"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        "g (N, O, OH, OW), weight -> the gradient of x, whose shape is given.");
  m.def("conv2d_weight_grad", &weight_grad, py::arg("g"), py::arg("x"), py::kw_only(), py::arg("shape"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        "g (N, O, OH, OW), x -> the gradient of the weight, whose shape is given.");
}

}  // namespace weft
