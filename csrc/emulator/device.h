// What a kernel sees of the emulated device when g++ compiles it: CUDA's built-in names, written out without any
// header, so that a kernel compiles in a tenth of a second. The bodies are in the runtime, libweft_emulator.so.
//
// Everything that synchronises or may fail knows its caller's file and line by default arguments.
#pragma once

#ifndef EMU_RUNTIME  // the runtime includes this for the types and the interface alone
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static thread_local  // the runtime gives every resident block its own copy (launch.cpp)
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define alignas(n) __attribute__((aligned(n)))  // CUDA allows it after __shared__, C++ not after static
#define __builtin_assume(condition) ((condition) ? void() : __builtin_unreachable())
#endif

#define EMU_LOC const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define EMU_PASS file_, line_

// ---- vector types, with CUDA's alignments
#define EMU_VECTORS(T, name, align2, align4)                         \
  struct name##1 { T x; };                                           \
  struct alignas(align2) name##2 { T x, y; };                        \
  struct name##3 { T x, y, z; };                                     \
  struct alignas(align4) name##4 { T x, y, z, w; };                  \
  inline name##1 make_##name##1(T x) { return {x}; }                 \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTORS(signed char, char, 2, 4)
EMU_VECTORS(unsigned char, uchar, 2, 4)
EMU_VECTORS(short, short, 4, 8)
EMU_VECTORS(unsigned short, ushort, 4, 8)
EMU_VECTORS(int, int, 8, 16)
EMU_VECTORS(unsigned, uint, 8, 16)
EMU_VECTORS(long long, longlong, 16, 16)
EMU_VECTORS(unsigned long long, ulonglong, 16, 16)
EMU_VECTORS(float, float, 8, 16)
EMU_VECTORS(double, double, 16, 16)
#undef EMU_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// ---- the running thread; the runtime's Thread and Block begin with these
struct EmuBlock {
  uint3 index;
  dim3 size, grid, cluster;
  unsigned cluster_rank, cluster_blocks;
  char* static_shared;
};
struct EmuThread {
  uint3 index;
  unsigned short linear;  // its number in the block, x fastest
  unsigned char warp, lane;
  EmuBlock* block;
};

extern "C" {
extern __thread EmuThread* emu_current __attribute__((tls_model("initial-exec")));
// The same four as functions without side effects: an instrumented kernel would report every plain read of them.
uint3 emu_thread_index() __attribute__((const));
uint3 emu_block_index() __attribute__((const));
uint3 emu_block_size() __attribute__((const));
uint3 emu_grid_size() __attribute__((const));

void emu_fail(const char* file, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));

// barriers of the block: id 0 with count 0 is __syncthreads
void emu_barrier(int id, int count, int arrive_only, const char* file, int line);
int emu_barrier_reduce(int operation, int predicate, const char* file, int line);
void emu_grid_sync(const char* file, int line);
// fence: 0 block, 1 device (or system); makes what a relaxed atomic publishes, or has seen, ordered
void emu_fence(int scope, const char* file, int line);

// warp collectives: the last lane to arrive calls `run` for all with every lane's argument
typedef void (*EmuWarpFunction)(void** arguments, unsigned mask);
void emu_warp(unsigned mask, int kind, void* argument, EmuWarpFunction run, const char* file, int line);
void emu_shuffle(unsigned mask, void* value, int size, int mode, int operand, int width, const char* file, int line);
unsigned emu_ballot(unsigned mask, int predicate, int mode, const char* file, int line);
unsigned emu_match_any(unsigned mask, unsigned long long value, const char* file, int line);
unsigned emu_warp_reduce(unsigned mask, unsigned value, int operation, const char* file, int line);
unsigned emu_active_mask();

void* emu_dynamic_shared(int alignment, const char* file, int line);

// programmatic dependent launch
void emu_grid_dependency_wait(const char* file, int line);
void emu_grid_dependency_launch(const char* file, int line);

// atomics, in the runtime, so that they are not taken for plain accesses. order: 0 relaxed, 1 acquire, 2 release, 3
// both
enum EmuAtomic {
  EMU_ADD,
  EMU_CAS,
  EMU_EXCHANGE,
  EMU_MAX,
  EMU_MIN,
  EMU_UMAX,
  EMU_UMIN,
  EMU_AND,
  EMU_OR,
  EMU_XOR,
  EMU_INC,
  EMU_DEC,
  EMU_ADD_F32,
  EMU_ADD_F64
};
unsigned emu_atomic_32(unsigned* p, int operation, unsigned value, unsigned compare, int order, const char* file,
                       int line);
unsigned long long emu_atomic_64(unsigned long long* p, int operation, unsigned long long value,
                                 unsigned long long compare, int order, const char* file, int line);
unsigned long long emu_atomic_load(const void* p, int bytes, int order, const char* file, int line);
void emu_atomic_store(void* p, int bytes, unsigned long long value, int order, const char* file, int line);

long long emu_clock();
int printf(const char* format, ...);
}

#include "primitives.h"

#ifndef EMU_RUNTIME

#ifdef __SANITIZE_THREAD__
#define threadIdx (emu_thread_index())
#define blockIdx (emu_block_index())
#define blockDim (emu_block_size())
#define gridDim (emu_grid_size())
#else
#define threadIdx (emu_current->index)
#define blockIdx (emu_current->block->index)
#define blockDim (emu_current->block->size)
#define gridDim (emu_current->block->grid)
#endif
constexpr int warpSize = 32;

#include "device_functions.h"

// ---- how a kernel is entered: with the array of pointers to its arguments that cuLaunchKernel takes
#define DYNAMIC_SHARED(type, name, alignment) \
  type* name = reinterpret_cast<type*>(emu_dynamic_shared(alignment, __FILE__, __LINE__))

template <class T>
struct EmuArgument {
  using type = T;
};
template <class T>
struct EmuArgument<const T> {
  using type = T;
};

#ifdef __SANITIZE_THREAD__
#define EMU_UNSEEN __attribute__((no_sanitize("thread", "alignment"), noinline))
#else
#define EMU_UNSEEN
#endif
template <class T>
EMU_UNSEEN T emu_argument(const void* p) {  // which need not be aligned
  typename EmuArgument<T>::type value;
  __builtin_memcpy(static_cast<void*>(&value), p, sizeof value);
  return value;
}
template <int... I>
struct EmuIndices {};
template <int N, int... I>
struct EmuCount : EmuCount<N - 1, N - 1, I...> {};
template <int... I>
struct EmuCount<0, I...> {
  using type = EmuIndices<I...>;
};
template <class... A, int... I>
EMU_UNSEEN void emu_call(void (*kernel)(A...), void** arguments, EmuIndices<I...>) {
  kernel(emu_argument<typename EmuArgument<A>::type>(arguments[I])...);
}
template <class... A>
EMU_UNSEEN void emu_call(void (*kernel)(A...), void** arguments) {
  emu_call(kernel, arguments, typename EmuCount<sizeof...(A)>::type{});
}
#define EXPORT_KERNEL(kernel) \
  extern "C" EMU_UNSEEN void emu_invoke_##kernel(void** arguments) { emu_call(&kernel, arguments); }

#endif  // EMU_RUNTIME
