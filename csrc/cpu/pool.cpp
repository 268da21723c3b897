#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <condition_variable>
#endif

namespace weft {
namespace {

constexpr auto spin_time = std::chrono::microseconds(200);
constexpr int scratch_slots = 32;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Sleep until a word changes. On Linux the word itself is waited on; elsewhere a condition variable stands in.
struct Sleep {
#if defined(__linux__)
  static_assert(sizeof(std::atomic<uint32_t>) == 4);
  void wait(std::atomic<uint32_t>& word, uint32_t seen) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
  }
  void wake(std::atomic<uint32_t>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
  }
#else
  std::mutex lock;
  std::condition_variable changed;
  void wait(std::atomic<uint32_t>& word, uint32_t seen) {
    std::unique_lock<std::mutex> hold(lock);
    changed.wait(hold, [&] { return word.load() != seen; });
  }
  void wake(std::atomic<uint32_t>&) {
    std::lock_guard<std::mutex> hold(lock);
    changed.notify_all();
  }
#endif
};

thread_local bool inside_task = false;

struct Pool {
  // state = epoch << 32 | open << 31 | workers inside. One word, so that joining and closing cannot cross.
  static constexpr uint64_t open = 1ull << 31, inside = open - 1;

  alignas(64) std::atomic<uint32_t> epoch{0};
  alignas(64) std::atomic<uint64_t> state{0};
  alignas(64) std::atomic<long> next{0};
  alignas(64) std::atomic<int> sleepers{0};
  alignas(64) std::atomic<bool> busy{false};
  Sleep sleep;
  Task task = nullptr;
  void* context = nullptr;
  long n = 0;
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  int threads;

  explicit Pool(int threads) : threads(threads) {
    for (int t = 1; t < threads; t++) {
      try {
        std::thread([this, t] { serve(t); }).detach();
      } catch (const std::system_error&) {  // the system's limit: fewer threads still do all tasks
        break;
      }
    }
  }

  void draw(int thread) {
    inside_task = true;
    try {
      for (long i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) task(context, i, thread);
    } catch (...) {
      next.store(n, std::memory_order_relaxed);
      if (!failed.exchange(true)) error = std::current_exception();
    }
    inside_task = false;
  }

  void wait_for_change(uint32_t seen) {
    auto start = std::chrono::steady_clock::now();
    for (int turn = 1; epoch.load(std::memory_order_acquire) == seen; turn++) {
      relax();
      if (turn % 64 == 0 && std::chrono::steady_clock::now() - start > spin_time) {
        sleepers.fetch_add(1);  // sequentially consistent with run()'s store of the epoch and load of sleepers
        if (epoch.load() == seen) sleep.wait(epoch, seen);
        sleepers.fetch_sub(1);
        start = std::chrono::steady_clock::now();
      }
    }
  }

  void serve(int thread) {
    for (uint32_t seen = 0;;) {
      wait_for_change(seen);
      seen = epoch.load(std::memory_order_acquire);
      uint64_t s = state.load();
      while (s & open) {
        if (!state.compare_exchange_weak(s, s + 1)) continue;
        seen = uint32_t(s >> 32);
        draw(thread);
        state.fetch_sub(1, std::memory_order_release);
        break;
      }
    }
  }

  void run(long count, Task f, void* c) {
    task = f, context = c, n = count;
    failed.store(false, std::memory_order_relaxed);
    next.store(0, std::memory_order_relaxed);
    uint32_t now = epoch.load(std::memory_order_relaxed) + 1;
    state.store(uint64_t(now) << 32 | open);
    epoch.store(now);
    if (sleepers.load()) sleep.wake(epoch);
    draw(0);
    state.fetch_and(~open);
    for (int turn = 0; state.load(std::memory_order_acquire) & inside; turn++) {
      relax();
      if (turn > 2000) sched_yield();
    }
    if (failed.load(std::memory_order_relaxed)) {
      std::exception_ptr thrown;
      std::swap(thrown, error);
      busy.store(false, std::memory_order_release);
      std::rethrow_exception(thrown);
    }
  }
};

int cpus() {
#if defined(__linux__)
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  // A container's quota: more threads than it grants are stopped in the middle of their tasks.
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long quota, period;
    if (std::fscanf(f, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0)
      n = std::min(n, std::max(1, int(std::ceil(double(quota) / double(period)))));
    std::fclose(f);
  }
  return n;
#else
  return std::max(1u, std::thread::hardware_concurrency());
#endif
}

int wanted_threads() {
  if (const char* text = std::getenv("WEFT_NUM_THREADS")) {
    int n = std::atoi(text);
    if (n >= 1) return std::min(n, 256);
  }
  return std::min(cpus(), 256);
}

std::atomic<Pool*> pool{nullptr};
std::mutex starting;

// A forked child has none of the parent's workers and perhaps a half-run region: it leaves that pool and starts its own.
void forget_pool() {
  pool.store(nullptr);
  new (&starting) std::mutex;
  inside_task = false;
}

Pool& start_pool() {
  std::lock_guard<std::mutex> hold(starting);
  static bool watching = pthread_atfork(nullptr, nullptr, forget_pool) == 0;
  (void)watching;
  if (!pool.load()) pool.store(new Pool(num_threads()));  // never destroyed: its workers outlive main()
  return *pool.load();
}

struct Scratch {
  struct Buffer {
    float* data;
    size_t floats;
  } slots[scratch_slots];
  ~Scratch() {
    for (Buffer& b : slots) std::free(b.data);
  }
};
thread_local Scratch buffers{};

}  // namespace

int num_threads() {
  static const int n = wanted_threads();
  return n;
}

void run_tasks(long n, Task task, void* context) {
  if (n <= 0) return;
  if (n > 1 && num_threads() > 1 && !inside_task) {
    Pool* p = pool.load(std::memory_order_acquire);
    if (!p) p = &start_pool();
    if (!p->busy.exchange(true, std::memory_order_acquire)) {
      p->run(n, task, context);
      p->busy.store(false, std::memory_order_release);
      return;
    }
  }
  for (long i = 0; i < n; i++) task(context, i, 0);
}

void run_steps(long steps, long parts, Part part, void* context) {
  if (parts <= 1) {
    for (long step = 0; step < steps; step++) part(context, step, 0);
    return;
  }
  // Tasks are drawn in order, so those that one waits for are done or being done, whatever the number of threads.
  std::vector<std::atomic<bool>> taken(size_t(steps * parts));
  std::vector<std::atomic<long>> done(size_t(steps) + 1);
  std::atomic<bool> stopped{false};
  parallel_for(steps * parts, [&](long i, int thread) {
    const long step = i / parts;
    long mine = thread % parts;
    while (taken[size_t(step * parts + mine)].exchange(true)) mine = (mine + 1) % parts;
    for (int turn = 0; step && done[size_t(step - 1)].load(std::memory_order_acquire) < parts; turn++) {
      if (stopped.load(std::memory_order_relaxed)) return;
      relax();
      if (turn > 2000) sched_yield();
    }
    try {
      part(context, step, mine);
    } catch (...) {
      stopped.store(true);
      throw;
    }
    done[size_t(step)].fetch_add(1, std::memory_order_release);
  });
}

float* scratch(int slot, size_t floats) {
  Scratch::Buffer& b = buffers.slots[slot];
  if (b.floats < floats || !b.data) {
    // Large buffers lie on huge pages where the system has them; growth by a quarter keeps regrowing rare.
    size_t bytes = (floats + floats / 4) * sizeof(float) + 64;
    size_t page = bytes >= (1u << 20) ? 2u << 20 : 4096;
    bytes = (bytes + page - 1) / page * page;
    std::free(b.data);
    b = {nullptr, 0};
    void* fresh = std::aligned_alloc(page, bytes);
    if (!fresh) throw std::bad_alloc();
#if defined(__linux__)
    if (page > 4096) madvise(fresh, bytes, MADV_HUGEPAGE);
#endif
    b = {static_cast<float*>(fresh), bytes / sizeof(float)};
  }
  return b.data;
}

}  // namespace weft
