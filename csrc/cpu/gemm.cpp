#include "gemm.h"

#include "pool.h"

#define WEFT_KERNELS "gemm.inc"
#include "each_isa.h"

namespace weft {

void sgemm(long M, long N, long K, const float* A, long rsA, long csA, const float* B, long rsB, long csB, float* C,
           long ldc, bool accumulate, const float* bias) {
  const float* init = accumulate ? C : bias;
  WEFT_DISPATCH(gemm, M, N, K, A, rsA, csA, B, rsB, csB, C, ldc, init, accumulate ? ldc : 0);
  if (!accumulate || !bias) return;
  for (long i = 0; i < M; i++)
    for (long j = 0; j < N; j++) C[i * ldc + j] += bias[j];
}

void sgemm_batch(long batch, long M, long N, long K, const float* A, const long* A_at, long rsA, long csA,
                 const float* B, const long* B_at, long rsB, long csB, float* C, const long* C_at, long ldc) {
  double flops = 2.0 * double(M) * double(N) * double(K);
  if (flops > 2e7 || batch == 1) {
    for (long i = 0; i < batch; i++) sgemm(M, N, K, A + A_at[i], rsA, csA, B + B_at[i], rsB, csB, C + C_at[i], ldc);
    return;
  }
  long step = std::max<long>(1, std::min<long>(long(2e5 / (flops + 1)) + 1, batch));
  parallel_for((batch + step - 1) / step, [&](long t, int) {
    for (long i = t * step, end = std::min(batch, i + step); i < end; i++)
      WEFT_DISPATCH(gemm_serial, M, N, K, A + A_at[i], rsA, csA, B + B_at[i], rsB, csB, C + C_at[i], ldc,
                    (const float*)nullptr, 0L);
  });
}

}  // namespace weft
