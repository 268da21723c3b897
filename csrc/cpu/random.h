// Philox4x32-10 random numbers: n of them from word `offset` (a multiple of 4) of the stream `seed` on.
#pragma once
#include <cstdint>

namespace weft {

void random_bits(uint32_t* out, long n, uint64_t seed, uint64_t offset);
void random_uniform(float* out, long n, uint64_t seed, uint64_t offset);   // [0, 1), one word each
void random_uniform(double* out, long n, uint64_t seed, uint64_t offset);  // [0, 1), two words each
void random_normal(float* out, long n, uint64_t seed, uint64_t offset);    // one word each, in pairs
void random_normal(double* out, long n, uint64_t seed, uint64_t offset);

// y = x where the uniform of an element is at least threshold / 2^24, times scale; 0 elsewhere.
void dropout(const float* x, float* y, long n, uint32_t threshold, float scale, uint64_t seed, uint64_t offset);

}  // namespace weft
