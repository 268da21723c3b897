// Sums of rows by index, the gradient of a table look-up.
#pragma once
#include <cstdint>

namespace weft {

// out (rows, D) = for each r the sum, in order, of the rows i of g (n, D) with indices[i] == r; 0 <= indices[i] < rows.
void scatter_add(const float* g, const int64_t* indices, float* out, long n, long rows, long D);

}  // namespace weft
