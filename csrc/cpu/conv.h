// Two-dimensional convolution (cross-correlation) of NCHW images and its two gradients. Results do not depend on the
// number of threads.
#pragma once

namespace weft {

struct Conv {
  long N, C, H, W;  // image
  long O, KH, KW;   // weight (O, C / groups, KH, KW)
  long OH, OW;      // output (N, O, OH, OW)
  long sh, sw;      // stride
  long top, left;   // padding before; what lies behind follows from OH and OW
  long dh, dw;      // dilation
  long groups;
};

// No extent may be 0. bias may be null.
void conv2d(const Conv& v, const float* x, const float* weight, const float* bias, float* out);
void conv2d_input_grad(const Conv& v, const float* g, const float* weight, float* gx);
void conv2d_weight_grad(const Conv& v, const float* g, const float* x, float* gw);

}  // namespace weft
