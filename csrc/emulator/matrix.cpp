// ldmatrix, stmatrix and mma.sync of a warp.
#include "runtime.h"

#include "layouts.h"
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

using Matrix = uint16_t[8][8];

// Visits both 16-bit halves of a lane's register, with the element of the matrix that each of them is.
template <class Visit>
void each_half(Matrix& matrix, bool transpose, int lane, Visit visit) {
  for (int half = 0; half < 2; half++) {
    const layouts::Place place = layouts::matrix_8x8(lane, half);
    visit(transpose ? matrix[place.column][place.row] : matrix[place.row][place.column], half);
  }
}

// Lane i gives the address of row i % 8 of matrix i / 8; register i of a lane belongs to matrix i.
void run_matrices(void** arguments, unsigned mask) {
  const auto& first = *static_cast<Matrices*>(arguments[__builtin_ctz(mask)]);
  const char* file = first.file;
  const int line = first.line;
  const char* name = first.store ? "stmatrix" : "ldmatrix";
  if (mask != FULL_WARP) FAIL("%s: expected a full warp, got lanes 0x%08x", name, mask);
  Thread& thread = current();
  Block& block = thread.home();
  for (int i = 0; i < first.count; i++) {
    Matrix matrix;
    for (int lane = 0; first.store && lane < WARP; lane++) {
      const unsigned word = static_cast<Matrices*>(arguments[lane])->registers[i];
      each_half(matrix, first.transpose, lane, [&](uint16_t& x, int half) { x = uint16_t(word >> 16 * half); });
    }
    for (int row = 0; row < 8; row++) {
      const int lane = i * 8 + row;
      const unsigned address = static_cast<Matrices*>(arguments[lane])->address;
      if (address % 16) FAIL("%s: expected rows aligned to 16 bytes, got 0x%x of lane %d", name, address, lane);
      char* memory = shared_pointer(block, address, 16, file, line);
      if (block.checked)
        shared_access(block, address, 16, first.store ? WRITE : READ, block, thread.warp, lane, file, line, name);
      first.store ? memcpy(memory, matrix[row], 16) : memcpy(matrix[row], memory, 16);
    }
    for (int lane = 0; !first.store && lane < WARP; lane++) {
      unsigned word = 0;
      each_half(matrix, first.transpose, lane, [&](uint16_t& x, int half) { word |= unsigned(x) << 16 * half; });
      static_cast<Matrices*>(arguments[lane])->registers[i] = word;
    }
  }
}

struct Product {
  float* d;
  const unsigned *a, *b;
  const char* file;
  int line;
};

using Row = float __attribute__((vector_size(32)));  // eight columns

// Sums in the order of k, in float. The hardware's order and the width of its sums are nowhere said.
template <int TYPE, int K>
void run_product(void** arguments, unsigned mask) {
  if (mask != FULL_WARP) {
    const auto& some = *static_cast<Product*>(arguments[__builtin_ctz(mask)]);
    fail(some.file, some.line, "mma.sync: expected a full warp, got lanes 0x%08x", mask);
  }
  constexpr int HALVES = TYPE == TF32 ? 1 : 2, A_REGISTERS = 16 * K / WARP / HALVES,
                B_REGISTERS = 8 * K / WARP / HALVES;
  float a[16][K];
  Row b[K], c[16];
  for (int lane = 0; lane < WARP; lane++) {
    const auto& product = *static_cast<Product*>(arguments[lane]);
    for (int half = 0; half < HALVES; half++) {
      for (int i = 0; i < A_REGISTERS; i++) {
        const auto place = TYPE == TF32 ? layouts::a_tf32(lane, i) : layouts::a_16_bits(lane, i, half);
        a[place.row][place.column] = operand(TYPE, product.a[i], half);
      }
      for (int i = 0; i < B_REGISTERS; i++) {
        const auto place = TYPE == TF32 ? layouts::b_tf32(lane, i) : layouts::b_16_bits(lane, i, half);
        b[place.row][place.column] = operand(TYPE, product.b[i], half);
      }
    }
    for (int i = 0; i < 4; i++) {
      const auto place = layouts::sums(lane, i);
      c[place.row][place.column] = product.d[i];
    }
  }
  for (int row = 0; row < 16; row++) {
    Row sums = c[row];
    for (int k = 0; k < K; k++) sums += a[row][k] * b[k];
    c[row] = sums;
  }
  for (int lane = 0; lane < WARP; lane++) {
    const auto& product = *static_cast<Product*>(arguments[lane]);
    for (int i = 0; i < 4; i++) {
      const auto place = layouts::sums(lane, i);
      product.d[i] = c[place.row][place.column];
    }
  }
}

}  // namespace
}  // namespace emulator

using namespace emulator;

extern "C" void emu_ldmatrix(unsigned* out, int count, int transpose, unsigned address, const char* file, int line) {
  Matrices matrices{out, count, transpose, address, false, file, line};
  emu_warp(FULL_WARP, 16 + count + 8 * transpose, &matrices, run_matrices, file, line);
}

extern "C" void emu_stmatrix(const unsigned* in, int count, int transpose, unsigned address, const char* file,
                             int line) {
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
  if (!run) FAIL("mma.sync: expected a known shape, got type %d with k %d", type, k);
  emu_warp(FULL_WARP, 64 + type * 4 + k / 8, &product, run, file, line);
}
