// Which banks a warp of gemm_sm90 touches at once when sums go to shared memory: the kernel's own address arithmetic.
// Returns the most accesses of one phase that fall into one bank; 1 is none too many.
#include "gemm_sm90/store.cuh"

extern "C" __thread EmuThread* emu_current = nullptr;

extern "C" int sums_on_their_way_out() {
  constexpr int LANES = sizeof(OUT) == 2 ? 8 : 16, BYTES = sizeof(OUT) == 2 ? 16 : 8;  // that are served together
  int most = 0;
  for (int warp = 0; warp < 4; warp++)
    for (unsigned p = 0; p < 4; p++)
      for (int first = 0; first < 32; first += LANES) {
        int hits[32] = {};
        for (int lane = first; lane < first + LANES; lane++)
          for (int word = 0; word < BYTES / 4; word++) {
            int& bank = hits[((Fragment<OUT>(warp, lane).offset ^ p << 5) / 4 + word) % 32];
            most = ++bank > most ? bank : most;
          }
      }
  return most;
}
