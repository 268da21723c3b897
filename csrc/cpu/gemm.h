// Matrix products over float32.
#pragma once

namespace weft {

// C (M x N, rows ldc apart) = A (M x K) B (K x N), + C where `accumulate`, + bias (N,) on every row where not null.
// rs and cs are the distances, in floats, of rows and columns of A and B: transposed views need no copy. Uses every
// thread from about 0.4 MFLOP. The result does not depend on the number of threads.
void sgemm(long M, long N, long K, const float* A, long rsA, long csA, const float* B, long rsB, long csB, float* C,
           long ldc, bool accumulate = false, const float* bias = nullptr);

// `batch` products; item i of X starts at X + X_at[i]. Small ones share the threads among items.
void sgemm_batch(long batch, long M, long N, long K, const float* A, const long* A_at, long rsA, long csA,
                 const float* B, const long* B_at, long rsB, long csB, float* C, const long* C_at, long ldc);

}  // namespace weft
