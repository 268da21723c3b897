// Rotary position embedding.
#pragma once
#include "attention.h"

namespace weft {

// out[a, b, t] = the row x[a, b, t] of D floats, rotated: element i of its first half and element i of its second by the
// angle whose cosine and sine are in row t of cos and sin (T, D/2).
void rope(HeadArray x, HeadArray out, const float* cos, const float* sin, long A, long B, long T, long D);

}  // namespace weft
