// Which banks of shared memory a warp of gemm_mma.cu touches at once: the kernel's own address arithmetic, its ldmatrix
// caught here. Each function returns the most accesses of one phase that fall into one bank; 1 is none too many.
#include "gemm_mma.cu"

extern "C" __thread EmuThread* emu_current = nullptr;
static unsigned caught;

extern "C" unsigned emu_smem_u32(const void* p, const char*, int) { return unsigned(size_t(p)); }
extern "C" void emu_ldmatrix(unsigned* r, int count, int, unsigned address, const char*, int) {
  caught = address;
  for (int i = 0; i < count; i++) r[i] = 0;
}

// Of `lanes` accesses of `bytes` that the hardware serves together.
static int worst(const unsigned* address, int lanes, int bytes) {
  int hits[32] = {}, most = 0;
  for (int lane = 0; lane < lanes; lane++)
    for (int word = 0; word < bytes / 4; word++) {
      int& bank = hits[(address[lane] / 4 + word) % 32];
      most = ++bank > most ? bank : most;
    }
  return most;
}

template <class S, class Read>
static int fragments(int warp_length, int blocks, Read read) {
  int most = 0;
  unsigned address[32], r[4];
  for (int first = 0; first + blocks * 16 <= warp_length; first += 16)
    for (int step = 0; step < STEPS; step++) {
      if constexpr (S::LDMATRIX) {  // eight rows of 16 bytes at a time
        for (int lane = 0; lane < 32; lane++) read(r, first, step, lane), address[lane] = caught;
        for (int eight = 0; eight < 32; eight += 8) {
          const int now = worst(address + eight, 8, 16);
          most = now > most ? now : most;
        }
      } else {  // 32 words at a time
        for (int i = 0; i < 2; i++) {
          for (int lane = 0; lane < 32; lane++) {
            const int k = step * STEP + lane % 4 + i * 4, column = first + lane / 4;
            address[lane] = S::place(k, column / 4) + column % 4 * 4;
          }
          const int now = worst(address, 32, 4);
          most = now > most ? now : most;
        }
      }
    }
  return most;
}

extern "C" int reads_of_a() {
  return fragments<SlicesA>(TILE_M, 1, [](unsigned (&r)[4], int first, int step, int lane) {
    if constexpr (SlicesA::LDMATRIX) SlicesA::read_a(r, nullptr, first, step, lane);
  });
}

extern "C" int reads_of_b() {
  return fragments<SlicesB>(TILE_N, 1, [](unsigned (&r)[4], int first, int step, int lane) {
    if constexpr (SlicesB::LDMATRIX) SlicesB::read_b(r, nullptr, first, step, lane);
  });
}

template <class S>
static int copies() {  // cp.async of 16 bytes, eight threads at a time
  int most = 0;
  for (int thread = 0; thread < THREADS; thread += 8) {
    unsigned address[8];
    for (int i = 0; i < 8; i++) address[i] = S::place((thread + i) / S::CHUNKS, (thread + i) % S::CHUNKS);
    const int now = worst(address, 8, 16);
    most = now > most ? now : most;
  }
  return most;
}

extern "C" int copies_of_a() { return copies<SlicesA>(); }
extern "C" int copies_of_b() { return copies<SlicesB>(); }

extern "C" int sums_on_their_way_out() {  // pairs of floats, sixteen lanes at a time
  unsigned address[32];
  for (int lane = 0; lane < 32; lane++) address[lane] = (lane / 4 * PITCH + lane % 4 * 2) * 4;
  const int low = worst(address, 16, 8), high = worst(address + 16, 16, 8);
  return low > high ? low : high;
}
