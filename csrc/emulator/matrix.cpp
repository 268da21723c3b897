// ldmatrix, stmatrix and mma.sync. g = lane / 4, t = lane % 4 throughout, as in PTX's figures.
#include "runtime.h"

#include "numbers.h"

namespace emulator {
namespace {

struct Matrices {
  unsigned* registers;
  int count, transpose;
  unsigned address;
  bool store;
  const char* file;
  int line;
};

// Lane i gives the address of row i % 8 of matrix i / 8. Register i of a lane holds row g, columns 2t and 2t + 1 of
// matrix i; transposed: column g, rows 2t and 2t + 1.
void run_matrices(void** arguments, unsigned mask) {
  const auto& first = *static_cast<Matrices*>(arguments[__builtin_ctz(mask)]);
  const char* file = first.file;
  const int line = first.line;
  const char* name = first.store ? "stmatrix" : "ldmatrix";
  if (mask != FULL_WARP) FAIL("%s: expected a full warp, got lanes 0x%08x", name, mask);
  Thread& thread = current();
  Block& block = thread.home();
  uint16_t rows[4][8][8];
  for (int i = 0; i < first.count; i++) {
    for (int row = 0; row < 8; row++) {
      const int lane = i * 8 + row;
      const unsigned address = static_cast<Matrices*>(arguments[lane])->address;
      if (address % 16) FAIL("%s: expected rows aligned to 16 bytes, got 0x%x of lane %d", name, address, lane);
      char* memory = shared_pointer(block, address, 16, file, line);
      if (block.checked)
        shared_access(block, address, 16, first.store ? WRITE : READ, block, thread.warp, lane, file, line, name);
      if (!first.store) {
        memcpy(rows[i][row], memory, 16);
        continue;
      }
      for (int column = 0; column < 8; column++) {
        const int from = first.transpose ? column * 4 + row / 2 : row * 4 + column / 2;
        const int half = first.transpose ? row & 1 : column & 1;
        rows[i][row][column] = uint16_t(static_cast<Matrices*>(arguments[from])->registers[i] >> 16 * half);
      }
      memcpy(memory, rows[i][row], 16);
    }
  }
  if (first.store) return;
  for (int lane = 0; lane < WARP; lane++) {
    unsigned* registers = static_cast<Matrices*>(arguments[lane])->registers;
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < first.count; i++) {
      const unsigned low = first.transpose ? rows[i][2 * t][g] : rows[i][g][2 * t];
      const unsigned high = first.transpose ? rows[i][2 * t + 1][g] : rows[i][g][2 * t + 1];
      registers[i] = low | high << 16;
    }
  }
}

struct Product {
  float* d;
  const unsigned *a, *b;
  const char* file;
  int line;
};

// 16-bit: A register i: row g + 8 (i % 2), columns 2t, 2t + 1 + 8 (i / 2).  B register i: k = 2t, 2t + 1 + 8 i, n = g.
// tf32:   A register i: row g + 8 (i % 2), column t + 4 (i / 2).            B register i: k = t + 4 i, n = g.
// C, D:   register i: row g + 8 (i / 2), column 2t + i % 2.
template <int TYPE, int K>
void run_product(void** arguments, unsigned mask) {
  if (mask != FULL_WARP) {
    const auto& some = *static_cast<Product*>(arguments[__builtin_ctz(mask)]);
    fail(some.file, some.line, "mma.sync: expected a full warp, got lanes 0x%08x", mask);
  }
  constexpr int PER_REGISTER = TYPE == TF32 ? 1 : 2, A_REGISTERS = 16 * K / WARP / PER_REGISTER,
                B_REGISTERS = 8 * K / WARP / PER_REGISTER;
  float a[16][K];
  alignas(32) float b[K][8], c[16][8];
  for (int lane = 0; lane < WARP; lane++) {
    const auto& product = *static_cast<Product*>(arguments[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < A_REGISTERS; i++) {
      for (int half = 0; half < PER_REGISTER; half++) {
        const int column = TYPE == TF32 ? t + 4 * (i / 2) : 2 * t + half + 8 * (i / 2);
        a[g + 8 * (i % 2)][column] = operand(TYPE, product.a[i], half);
      }
    }
    for (int i = 0; i < B_REGISTERS; i++) {
      for (int half = 0; half < PER_REGISTER; half++) {
        const int k = TYPE == TF32 ? t + 4 * i : 2 * t + half + 8 * i;
        b[k][g] = operand(TYPE, product.b[i], half);
      }
    }
    for (int i = 0; i < 4; i++) c[g + 8 * (i / 2)][2 * t + i % 2] = product.d[i];
  }
  for (int row = 0; row < 16; row++)
    for (int k = 0; k < K; k++)
      for (int column = 0; column < 8; column++) c[row][column] += a[row][k] * b[k][column];
  for (int lane = 0; lane < WARP; lane++) {
    const auto& product = *static_cast<Product*>(arguments[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) product.d[i] = c[g + 8 * (i / 2)][2 * t + i % 2];
  }
}

}  // namespace
}  // namespace emulator

using namespace emulator;

extern "C" void emu_ldmatrix(unsigned* out, int count, int transpose, unsigned address, const char* file, int line) {
  Matrices matrices{out, count, transpose, address, false, file, line};
  emu_warp(FULL_WARP, 16 + count + 8 * transpose, &matrices, run_matrices, file, line);
}

extern "C" void emu_stmatrix(const unsigned* in, int count, int transpose, unsigned address, const char* file, int line) {
  Matrices matrices{const_cast<unsigned*>(in), count, transpose, address, true, file, line};
  emu_warp(FULL_WARP, 32 + count + 8 * transpose, &matrices, run_matrices, file, line);
}

extern "C" void emu_mma(int type, int k, float* d, const unsigned* a, const unsigned* b, const char* file, int line) {
  Product product{d, a, b, file, line};
  EmuWarpFunction run = nullptr;
  if (type == BF16 && k == 16) run = run_product<BF16, 16>;
  if (type == F16 && k == 16) run = run_product<F16, 16>;
  if (type == F16 && k == 8) run = run_product<F16, 8>;
  if (type == BF16 && k == 8) run = run_product<BF16, 8>;
  if (type == TF32 && k == 8) run = run_product<TF32, 8>;
  if (type == TF32 && k == 4) run = run_product<TF32, 4>;
  if (!run) FAIL("mma.sync: expected a known shape, got type %d with k %d", type, k);
  emu_warp(FULL_WARP, 64 + type * 4 + k / 8, &product, run, file, line);
}
