// The thread pool: the caller and num_threads() - 1 workers share the tasks of one parallel region at a time.
//
// A region is a counter of tasks that every thread draws from, so uneven tasks balance themselves. Workers join only
// while the region is open and the caller waits only for those that joined: a worker that the system has put aside
// delays nobody. Idle workers spin for about 200 us (the gap between two ops of a training step), then sleep.
#pragma once
#include <cstddef>
#include <memory>
#include <type_traits>

namespace weft {

// Threads that a region may use, the caller included: WEFT_NUM_THREADS, else the CPUs this process may run on.
int num_threads();

using Task = void (*)(void* context, long i, int thread);
void run_tasks(long n, Task task, void* context);

// Calls f(i, thread) for i in [0, n), in any order, 0 <= thread < num_threads(). One task, a call from inside a task,
// and a call while another Python thread is inside a region all run serially on the caller, as thread 0. What a task
// throws reaches the caller.
template <class F>
void parallel_for(long n, F&& f) {
  using Body = std::remove_reference_t<F>;
  run_tasks(
      n, [](void* context, long i, int thread) { (*static_cast<Body*>(context))(i, thread); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

// Calls f(step, part) for every part of step 0, then of step 1, and so on, all in one region: for chains of steps too
// short for a region each. A part begins when the step before is done, and a thread keeps to its part where it can.
using Part = void (*)(void* context, long step, long part);
void run_steps(long steps, long parts, Part part, void* context);
template <class F>
void parallel_steps(long steps, long parts, F&& f) {
  using Body = std::remove_reference_t<F>;
  run_steps(
      steps, parts, [](void* context, long step, long part) { (*static_cast<Body*>(context))(step, part); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

// Cuts n items into ranges of at least `grain` and calls f(begin, end) on them; small n runs at once on the caller.
// Ranges start at multiples of 64 items, so no two threads write the same cache line of an aligned array.
template <class F>
void parallel_ranges(long n, long grain, F&& f) {
  long pieces = grain > 0 ? n / grain : n, most = 4L * num_threads();
  if (pieces > most) pieces = most;
  if (num_threads() == 1 || pieces < 2) {
    if (n > 0) f(0L, n);
    return;
  }
  long step = ((n + pieces - 1) / pieces + 63) / 64 * 64;
  parallel_for((n + step - 1) / step, [&](long i, int) {
    long begin = i * step, end = begin + step;
    f(begin, end < n ? end : n);
  });
}

// Item p of n items cut into `parts` even pieces: [begin, end).
inline void split(long n, long p, long parts, long& begin, long& end) {
  begin = n * p / parts;
  end = n * (p + 1) / parts;
}

// A buffer of at least `floats` floats, 64-byte aligned, kept by the calling thread; its content is unspecified and lasts
// until the next call for the same slot on the same thread. Slots: 0-5 gemm (0-2 the parallel one,
// 3-5 the serial one, which tasks may call), 6-13 convolution, 14-18 rows and norms, 19-27 attention, 28-31 maps.
float* scratch(int slot, size_t floats);

}  // namespace weft
