// Max and average pooling of NCHW images, and their gradients.
#pragma once
#include <cstdint>

namespace weft {

struct Pooling {
  long planes, H, W;    // N * C images
  long KH, KW, OH, OW;  // windows and how many of them
  long sh, sw, top, left, dh, dw;
  bool count_padding;  // whether a mean counts the pixels of the padding

  long taps() const { return KH * KW; }
};

// The tap of each maximum goes to one of `small` (at most 256 taps) and `large`. No extent may be 0.
void max_pool(const Pooling& v, const float* x, float* out, uint8_t* small, int32_t* large);
void max_pool_backward(const Pooling& v, const float* g, const uint8_t* small, const int32_t* large, float* gx);
void avg_pool(const Pooling& v, const float* x, float* out);
void avg_pool_backward(const Pooling& v, const float* g, float* gx);

}  // namespace weft
