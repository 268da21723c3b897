// Compares csrc/emulator/layouts.h with CuTe's own tables, evaluated on the host. Prints a line per layout, the number
// of elements compared and of mismatches; exits with 1 if there is any. CuTe prints complaints between: the host has no shared addresses.
#include <cstdio>
#include <cuda_runtime.h>
#include <cute/tensor.hpp>
#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/copy_traits_sm90.hpp>
#include <cute/atom/mma_traits_sm75.hpp>
#include <cute/atom/mma_traits_sm80.hpp>
#include <cute/atom/mma_traits_sm90_gmma.hpp>
#include <cute/swizzle_layout.hpp>

#include "layouts.h"

using namespace cute;
using layouts::Place;
namespace gmma = SM90::GMMA;

static int total_mismatches = 0;

static void report(const char* type, const char* name, int compared, int mismatches) {
  printf("%s %s: %d compared, %d mismatches\n", type, name, compared, mismatches);
  total_mismatches += mismatches;
}

// Every (thread, value) of a fragment against `place`, whose coordinates CuTe packs as row + rows * column.
template <class Layout, class PlaceOf>
static void fragment(const char* type, const char* name, Layout layout, int threads, int values, int rows,
                     PlaceOf place) {
  int mismatches = 0;
  for (int thread = 0; thread < threads; thread++) {
    for (int value = 0; value < values; value++) {
      const Place p = place(thread, value);
      mismatches += int(layout(thread, value)) != p.row + rows * p.column;
    }
  }
  report(type, name, threads * values, mismatches);
}

// CuTe's B is n + 8 k.
static Place swapped(Place p) { return {p.column, p.row}; }

template <class Atom>
static void mma_16_bits(const char* name, int k) {
  fragment(name, "a", typename MMA_Traits<Atom>::ALayout{}, 32, k / 2, 16,
           [](int t, int v) { return layouts::a_16_bits(t, v / 2, v % 2); });
  fragment(name, "b", typename MMA_Traits<Atom>::BLayout{}, 32, k / 4, 8,
           [](int t, int v) { return swapped(layouts::b_16_bits(t, v / 2, v % 2)); });
  fragment(name, "sums", typename MMA_Traits<Atom>::CLayout{}, 32, 4, 16,
           [](int t, int v) { return layouts::sums(t, v); });
}

// ldmatrix: lane i / 8 * 8 + row holds the address of a row of 128 bits; CuTe maps (lane, bit of its registers) to bits.
template <class Op>
static void matrices(const char* name, int count, bool transposed) {
  typename Copy_Traits<Op>::DstLayout layout;
  int mismatches = 0;
  for (int lane = 0; lane < 32; lane++) {
    for (int bit = 0; bit < 32 * count; bit++) {
      Place p = layouts::matrix_8x8(lane, bit % 32 / 16);
      if (transposed) p = swapped(p);
      mismatches += int(layout(lane, bit)) != bit / 32 * 1024 + p.row * 128 + p.column * 16 + bit % 16;
    }
  }
  report("ldmatrix", name, 32 * 32 * count, mismatches);
}

template <int N>
static void wgmma_sums() {
  char name[32];
  snprintf(name, sizeof name, "64x%d sums", N);
  fragment("wgmma", name, gmma::CLayout_64xN<N>{}, 128, N / 2, 64, [](int t, int v) {
    const Place p = layouts::sums(t % 32, v);
    return Place{p.row + 16 * (t / 32), p.column};
  });
}

template <int... I>
static void all_wgmma_sums(std::integer_sequence<int, I...>) {
  (wgmma_sums<8 * (I + 1)>(), ...);
}

// The first operand, of 128 x 256 bits, in a tile of `shape` that CuTe makes of `atom`, with the descriptor that CuTe
// makes of it: every element must lie where layouts.h finds it through the descriptor's fields.
template <gmma::Major MAJOR, class T, class Atom, class Shape>
static void operand(const char* type, const char* name, Atom atom, Shape shape) {
  auto layout = tile_to_shape(atom, shape);
  auto tile = make_tensor(make_smem_ptr(static_cast<T*>(nullptr)), layout);
  auto tensor = local_tile(tile, cute::Shape<_128, Int<32 / sizeof(T)>>{}, make_coord(0, 0));
  const layouts::Operand decoded = layouts::decode(gmma::make_gmma_desc<MAJOR>(tensor).desc_);
  auto positions = as_position_independent_swizzle_layout(layout);
  int mismatches = 0;
  for (int mn = 0; mn < 128; mn++) {
    for (int k = 0; k < int(32 / sizeof(T)); k++) {
      const unsigned expected = unsigned(positions(mn, k)) * sizeof(T);
      mismatches += layouts::address_of(decoded, mn, k, MAJOR == gmma::Major::MN, sizeof(T)) != expected;
    }
  }
  report(type, name, 128 * 32 / sizeof(T), mismatches);
}

// A step along K within a swizzled line moves the descriptor's start; the swizzle stays that of absolute addresses.
template <class T, class Atom>
static void step(const char* type, const char* name, Atom atom, int swizzle_bits, unsigned stride) {
  auto positions = as_position_independent_swizzle_layout(tile_to_shape(atom, Shape<_64, Int<128 / sizeof(T)>>{}));
  int mismatches = 0, compared = 0;
  for (unsigned start = 0; start < 128; start += 32) {
    const layouts::Operand moved = {start, 16, stride, swizzle_bits, 0};
    for (int mn = 0; mn < 64; mn++) {
      for (unsigned k = 0; k < 32 / sizeof(T); k++, compared++) {
        const unsigned expected = unsigned(positions(mn, start / sizeof(T) + k)) * sizeof(T);
        mismatches += layouts::address_of(moved, mn, k, false, sizeof(T)) != expected;
      }
    }
  }
  report(type, name, compared, mismatches);
}

template <int BITS>
static void swizzles(const char* name) {
  int mismatches = 0;
  for (unsigned address = 0; address < 4096; address++)
    mismatches += unsigned(Swizzle<BITS, 4, 3>{}(address)) != layouts::swizzle(address, BITS);
  report("swizzle", name, 4096, mismatches);
}

template <class T>
static void operands(const char* type) {
  using K1 = Int<32 / sizeof(T)>;
  using K2 = Int<64 / sizeof(T)>;
  using K4 = Int<128 / sizeof(T)>;
  operand<gmma::Major::K, T>(type, "K-major 128B", gmma::Layout_K_SW128_Atom<T>{}, Shape<_128, K4>{});
  operand<gmma::Major::K, T>(type, "K-major 64B", gmma::Layout_K_SW64_Atom<T>{}, Shape<_128, K2>{});
  operand<gmma::Major::K, T>(type, "K-major 32B", gmma::Layout_K_SW32_Atom<T>{}, Shape<_128, K1>{});
  operand<gmma::Major::K, T>(type, "K-major none", gmma::Layout_K_INTER_Atom<T>{}, Shape<_128, K1>{});
  step<T>(type, "steps of K in 128B lines", gmma::Layout_K_SW128_Atom<T>{}, 3, 1024);
}

template <class T>
static void transposed_operands(const char* type) {
  constexpr auto MN = gmma::Major::MN;
  operand<MN, T>(type, "MN-major 128B", gmma::Layout_MN_SW128_Atom<T>{}, Shape<_128, _16>{});
  operand<MN, T>(type, "MN-major 64B", gmma::Layout_MN_SW64_Atom<T>{}, Shape<_128, _16>{});
  operand<MN, T>(type, "MN-major 32B", gmma::Layout_MN_SW32_Atom<T>{}, Shape<_128, _16>{});
  operand<MN, T>(type, "MN-major none", gmma::Layout_MN_INTER_Atom<T>{}, Shape<_128, _16>{});
}

int main() {
  mma_16_bits<SM80_16x8x16_F32BF16BF16F32_TN>("m16n8k16 bf16", 16);
  mma_16_bits<SM80_16x8x16_F32F16F16F32_TN>("m16n8k16 f16", 16);
  mma_16_bits<SM80_16x8x8_F32BF16BF16F32_TN>("m16n8k8 bf16", 8);
  mma_16_bits<SM75_16x8x8_F32F16F16F32_TN>("m16n8k8 f16", 8);
  using Tf32 = MMA_Traits<SM80_16x8x8_F32TF32TF32F32_TN>;
  fragment("m16n8k8 tf32", "a", typename Tf32::ALayout{}, 32, 4, 16,
           [](int t, int v) { return layouts::a_tf32(t, v); });
  fragment("m16n8k8 tf32", "b", typename Tf32::BLayout{}, 32, 2, 8,
           [](int t, int v) { return swapped(layouts::b_tf32(t, v)); });
  fragment("m16n8k8 tf32", "sums", typename Tf32::CLayout{}, 32, 4, 16,
           [](int t, int v) { return layouts::sums(t, v); });

  matrices<SM75_U32x1_LDSM_N>("x1", 1, false);
  matrices<SM75_U32x2_LDSM_N>("x2", 2, false);
  matrices<SM75_U32x4_LDSM_N>("x4", 4, false);
  matrices<SM75_U16x2_LDSM_T>("x1 trans", 1, true);
  matrices<SM75_U16x4_LDSM_T>("x2 trans", 2, true);
  matrices<SM75_U16x8_LDSM_T>("x4 trans", 4, true);

  all_wgmma_sums(std::make_integer_sequence<int, 32>{});
  fragment("wgmma", "a in registers, 16 bits", gmma::ALayout_64x16{}, 128, 8, 64, [](int t, int v) {
    const Place p = layouts::a_16_bits(t % 32, v / 2, v % 2);
    return Place{p.row + 16 * (t / 32), p.column};
  });
  fragment("wgmma", "a in registers, tf32", gmma::ALayout_64x8{}, 128, 4, 64, [](int t, int v) {
    const Place p = layouts::a_tf32(t % 32, v);
    return Place{p.row + 16 * (t / 32), p.column};
  });

  operands<bfloat16_t>("bf16");
  operands<half_t>("f16");
  operands<tfloat32_t>("tf32");
  transposed_operands<bfloat16_t>("bf16");
  transposed_operands<half_t>("f16");
  swizzles<1>("32B");
  swizzles<2>("64B");
  swizzles<3>("128B");
  printf("total: %d mismatches\n", total_mismatches);
  return total_mismatches != 0;
}
