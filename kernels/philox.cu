// Random numbers into C-contiguous memory, and dropout. A thread has one block of four words at a time.
// Where they start in the stream is `seed` and `offset`, or, in a recorded step, what lies at `seed_at` and `offset_at`.
// Defines: OUT   type of the numbers.
#include "common.cuh"
#include "philox.cuh"

constexpr int THREADS = 256;

struct Stream {
  unsigned long long seed, offset;

  DEVICE_INLINE Stream(unsigned long long seed, unsigned long long offset, const unsigned long long* seed_at,
                       const unsigned long long* offset_at)
      : seed(seed_at ? *seed_at : seed), offset(offset_at ? *offset_at : offset) {}
};

// Calls body(first, words) for the words of the stream that `size` of them need, `first` their number from 0.
template <class Body>
DEVICE_INLINE void each_block(long long size, const Stream& stream, Body body) {
  const long long blocks = (size + 3) / 4, step = (long long)(gridDim.x) * THREADS;
  for (long long i = blockIdx.x * (long long)(THREADS) + threadIdx.x; i < blocks; i += step)
    body(4 * i, philox(stream.offset / 4 + (unsigned long long)(i), stream.seed));
}

template <class T, int N>
DEVICE_INLINE void store(T* out, long long first, long long size, int aligned, const Vector<T, N>& values) {
  if (aligned && first + N <= size) {
    *reinterpret_cast<Vector<T, N>*>(out + first) = values;
    return;
  }
#pragma unroll
  for (int v = 0; v < N; v++)
    if (first + v < size) out[first + v] = values.at[v];
}

// aligned: whether out begins at a multiple of 16 bytes.
extern "C" __global__ void __launch_bounds__(THREADS)
    random_bits(uint32_t* out, long long size, int aligned, unsigned long long seed, unsigned long long offset,
                const unsigned long long* seed_at, const unsigned long long* offset_at) {
  each_block(size, Stream(seed, offset, seed_at, offset_at), [=](long long first, const Words& w) {
    store(out, first, size, aligned, Vector<uint32_t, 4>{{w.at[0], w.at[1], w.at[2], w.at[3]}});
  });
}
EXPORT_KERNEL(random_bits)

template <class T>
DEVICE_INLINE void uniforms(T* out, long long size, int aligned, const Stream& stream) {
  if constexpr (is_same<T, double>) {  // two words per number
    each_block(2 * size, stream, [=](long long first, const Words& w) {
      store(out, first / 2, size, aligned, Vector<T, 2>{{uniform(w.at[0], w.at[1]), uniform(w.at[2], w.at[3])}});
    });
  } else {
    each_block(size, stream, [=](long long first, const Words& w) {
      store(out, first, size, aligned,
            Vector<T, 4>{{uniform<T>(w.at[0]), uniform<T>(w.at[1]), uniform<T>(w.at[2]), uniform<T>(w.at[3])}});
    });
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    random_uniform(OUT* out, long long size, int aligned, unsigned long long seed, unsigned long long offset,
                   const unsigned long long* seed_at, const unsigned long long* offset_at) {
  uniforms(out, size, aligned, Stream(seed, offset, seed_at, offset_at));
}
EXPORT_KERNEL(random_uniform)

extern "C" __global__ void __launch_bounds__(THREADS)
    random_normal(OUT* out, long long size, int aligned, unsigned long long seed, unsigned long long offset,
                  const unsigned long long* seed_at, const unsigned long long* offset_at) {
  each_block(size, Stream(seed, offset, seed_at, offset_at), [=](long long first, const Words& w) {
    double z[4];
    box_muller(w.at[0], w.at[1], z[0], z[1]);
    box_muller(w.at[2], w.at[3], z[2], z[3]);
    store(out, first, size, aligned,
          Vector<OUT, 4>{{convert<OUT>(z[0]), convert<OUT>(z[1]), convert<OUT>(z[2]), convert<OUT>(z[3])}});
  });
}
EXPORT_KERNEL(random_normal)

// out = x * scale where the uniform of an element, in steps of 2^-24, is at least the threshold, else 0.
extern "C" __global__ void __launch_bounds__(THREADS)
    dropout(OUT* out, const OUT* x, long long size, int aligned, unsigned threshold, double scale,
            unsigned long long seed, unsigned long long offset, const unsigned long long* seed_at,
            const unsigned long long* offset_at) {
  using Number = Wide<OUT>;
  each_block(size, Stream(seed, offset, seed_at, offset_at), [=](long long first, const Words& w) {
    Vector<OUT, 4> values = {};
    if (aligned && first + 4 <= size) {
      values = *reinterpret_cast<const Vector<OUT, 4>*>(x + first);
    } else {
#pragma unroll
      for (int v = 0; v < 4; v++)
        if (first + v < size) values.at[v] = x[first + v];
    }
#pragma unroll
    for (int v = 0; v < 4; v++)
      values.at[v] = convert<OUT>(w.at[v] >> 8 >= threshold ? Number(values.at[v]) * Number(scale) : Number(0));
    store(out, first, size, aligned, values);
  });
}
EXPORT_KERNEL(dropout)
