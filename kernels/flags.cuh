// What a kernel cannot raise: it notes it in the flag word of its stream, which the host reads when it waits for values.
// The first note stays until then.
#pragma once
#include "ptx.cuh"

// python/weft/backends/gpu/flags.py: what is the number of a message; 0 is nothing.
struct FlagWord {
  unsigned long long what;
  long long value;
  long long position;  // of the value, in C order
};

DEVICE_INLINE void raise_flag(FlagWord* flag, unsigned long long what, long long value, long long position) {
  if (atomicCAS(&flag->what, 0ull, what) != 0) return;
  flag->value = value;
  flag->position = position;
}
