// Cross-entropy of integer labels over rows of C logits.
#pragma once
#include <cstdint>

namespace weft {

struct CrossEntropy {  // what forward and backward share; weight (C,) or null
  const float* logits;
  const int64_t* labels;
  const float* weight;
  long rows, C;
  int64_t ignore_index;
  float smoothing;
};

// The first row whose label is neither in [0, C) nor `ignore_index`, or -1.
long bad_label(const int64_t* labels, long rows, long C, int64_t ignore_index);
// losses and lse (rows,): 0 and the log of the sum of exponentials where the label is ignored.
void cross_entropy(const CrossEntropy& of, float* losses, float* lse);
// g: one for each row, or one for all where `g_step` is 0.
void cross_entropy_backward(const CrossEntropy& of, const float* g, long g_step, const float* lse, float* grad);

}  // namespace weft
