#include "random.h"

#define WEFT_KERNELS "random.inc"
#include "each_isa.h"

namespace weft {
namespace {

constexpr long grain = 8192;

}  // namespace

void random_bits(uint32_t* out, long n, uint64_t seed, uint64_t offset) {
  parallel_ranges(
      n, grain, [=](long a, long b) { WEFT_DISPATCH(random_bits_range, seed, offset + uint64_t(a), out + a, b - a); });
}

void random_uniform(float* out, long n, uint64_t seed, uint64_t offset) {
  parallel_ranges(n, grain, [=](long a, long b) {
    WEFT_DISPATCH(random_uniform_range, seed, offset + uint64_t(a), out + a, b - a);
  });
}

void random_uniform(double* out, long n, uint64_t seed, uint64_t offset) {
  parallel_ranges(n, grain, [=](long a, long b) {
    WEFT_DISPATCH(random_uniform_range, seed, offset + 2 * uint64_t(a), out + a, b - a);
  });
}

void random_normal(float* out, long n, uint64_t seed, uint64_t offset) {
  parallel_ranges(n, grain, [=](long a, long b) {
    WEFT_DISPATCH(random_normal_range, seed, offset + uint64_t(a), out + a, b - a);
  });
}

void random_normal(double* out, long n, uint64_t seed, uint64_t offset) {
  parallel_ranges(n, grain, [=](long a, long b) {
    WEFT_DISPATCH(random_normal_range, seed, offset + uint64_t(a), out + a, b - a);
  });
}

}  // namespace weft
