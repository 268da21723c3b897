// The runtime's own view of the emulated device: threads are fibers, a block is its threads and its shared memory, a
// worker is an OS thread that runs the blocks resident on it, one fiber at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "shadow.h"

namespace emulator {

constexpr int WARP = 32, WARPGROUP = 128, MAX_THREADS = 1024, NAMED_BARRIERS = 16;
constexpr unsigned FULL_WARP = ~0u;
// A block's shared memory: 1 KiB that sm_90 reserves, static, then dynamic, at most 227 KiB together.
constexpr unsigned RESERVED_SHARED = 1024, ARENA = 256 << 10, MAX_SHARED = 227 << 10;
constexpr unsigned RANK_SHIFT = 24, OFFSET_MASK = (1u << RANK_SHIFT) - 1;
constexpr size_t STACK = 128 << 10, PAGE = 4096;

enum class Schedule : int { fifo, lifo, reverse, random };
enum class State : char { ready, barrier, warp, mbarrier, warpgroup, cluster, grid, polling, exited };

// What Python passes (`_Launch` of backends/emulator.py): the layout is the same.
struct Launch {
  void (*invoke)(void** arguments);
  void** arguments;
  const char* name;
  unsigned grid[3], block[3], cluster[3];
  unsigned dynamic_shared;
  int cooperative, dependent;
  int schedule, seed, late, workers, checked, resident_blocks, shared_limit;
};

// ---- one thread

struct Block;
struct Worker;

struct CopyOperation {  // cp.async
  const void* source;
  unsigned destination;
  short bytes, valid;
};

struct Copies {  // of a thread, in the order of their issue; `groups` are the ends of committed groups
  std::vector<CopyOperation> issued;
  std::vector<size_t> groups;
  size_t landed = 0, waited = 0;

  void clear() {
    issued.clear(), groups.clear();
    landed = waited = 0;
  }
};

struct BulkOperation {  // TMA: a box of a tensor, or `bytes` in a row, between global and shared memory
  TensorMapBits map;
  int rank, coordinates[5];
  unsigned short offsets[3];
  bool load, add;
  void* global;  // of a plain bulk copy
  unsigned shared, bytes, barrier, mask;
  uint32_t clock;           // of the reading, where it is a checked store
  std::vector<char> taken;  // what a store has read of shared memory before it writes
  Block* block;
  int warp;
  const char* file;
  int line;
};

struct alignas(64) Thread : EmuThread {
  // What every thread uses, on one line of the cache.
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  const char* file = nullptr;  // where it waits
  int line = 0;
  State state = State::ready;
  bool started = false, cluster_arrived = false;
  bool transfers = false;         // of the vectors below, not all are empty
  const void* watched = nullptr;  // where it polls global memory, and what it saw there

  unsigned watched_value = 0, cluster_phase = 0;
  unsigned barrier_address = 0, barrier_parity = 0;  // the mbarrier that it waits for
  Copies copies;
  std::vector<BulkOperation> stores;
  std::deque<std::vector<BulkOperation>> store_groups;

  Block& home() const;
};

// ---- what the threads of a block share

struct Barrier {
  int expected = 0, arrived = 0, reduced[3] = {};
  std::vector<Thread*> waiting;
  const char* file = nullptr;
  int line = 0;
  Clock clock;
};

struct WarpOperation {
  unsigned mask = 0, arrived = 0;
  int kind = 0, line = 0;
  const char* file = nullptr;
  EmuWarpFunction run = nullptr;
  void* arguments[WARP];
};

struct WgmmaOperation {
  int n, scale_d, transpose_a, transpose_b, type;
  float* d[WARPGROUP];
  unsigned a[WARPGROUP][4];
  bool a_in_registers;
  unsigned long long a_descriptor, b_descriptor;
  const char* file;
  int line;
};

struct Warpgroup {
  int arrived = 0, kind = 0, line = 0;
  const char* file = nullptr;
  bool fenced = false;
  void* arguments[WARPGROUP];
  std::vector<WgmmaOperation> current;
  std::deque<std::vector<WgmmaOperation>> groups;
  // Accumulators of products under way, which their owner sees poisoned until it waits.
  std::map<std::pair<int, float*>, std::vector<float>> kept;
};

struct Cluster {
  std::vector<Block*> blocks;
  int alive = 0, arrived = 0;  // threads
  std::vector<Thread*> waiting;
  unsigned phase = 0;
  Clock clock, released;
};

struct Block : EmuBlock {
  Worker* worker = nullptr;
  Cluster* cluster_home = nullptr;
  std::vector<Thread> threads;
  int thread_count = 0, alive = 0;
  int begun = 0;        // threads; in which order, the schedule says
  dim3 shape{0, 0, 0};  // for which the threads are numbered
  bool exited = false, checked = false;
  unsigned serial = 0;  // never the same for two blocks of a process
  char* arena = nullptr;
  unsigned static_bytes = 0, dynamic_offset = 0, dynamic_bytes = 0;
  Barrier barriers[NAMED_BARRIERS];
  int reduced[3] = {};  // of the latest __syncthreads_or, _and, _count
  std::vector<WarpOperation> warp_operations[WARP];
  std::vector<Warpgroup> warpgroups;
  std::vector<Thread*> mbarrier_waiting;
  std::vector<std::pair<unsigned, Thread*>> unfenced;  // mbarriers whose initialisation others may not see yet
  BlockChecks checks;

  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  unsigned shared_end() const { return dynamic_offset + dynamic_bytes; }
  bool holds(const void* p) const { return p >= arena && p < arena + ARENA; }
};

inline Block& Thread::home() const { return *static_cast<Block*>(block); }

// ---- the threads that can run

class ReadyQueue {  // a ring; a thread is in it at most once
 public:
  bool empty() const { return head_ == tail_; }
  size_t size() const { return tail_ - head_; }
  void clear() { head_ = tail_ = 0; }
  void push(Thread* thread) {
    if (tail_ - head_ > mask_) grow();
    ring_[tail_++ & mask_] = thread;
  }
  Thread* pop_front() { return ring_[head_++ & mask_]; }
  Thread* pop_back() { return ring_[--tail_ & mask_]; }
  Thread* pop_any(size_t i) {
    std::swap(ring_[(head_ + i) & mask_], ring_[(tail_ - 1) & mask_]);
    return pop_back();
  }

 private:
  void grow();
  size_t head_ = 0, tail_ = 0, mask_ = 2047;
  std::unique_ptr<Thread*[]> ring_{new Thread*[2048]};
};

// ---- one launch, and the OS threads that run it

struct Module {  // the shared library of a kernel
  uintptr_t begin = 0, end = 0;
  unsigned static_shared = 0;
  std::string path;
};

constexpr size_t CACHE_LINES = 128;  // what one worker writes often lies that far from what others read

struct GridState {  // of the launch under way; shared between workers
  const Launch* launch = nullptr;
  Module module;
  unsigned units = 0, unit_blocks = 1;  // a unit is a cluster, or one block
  std::vector<unsigned> order;          // of the units, where it is random
  std::vector<Worker*> crew;            // who may take part
  std::atomic<bool> failed{false};
  std::atomic<int> active{0};  // workers
  GridChecks checks;
  std::mutex error_lock;
  std::string error;
  alignas(CACHE_LINES) std::atomic<unsigned> next_unit{0};
  std::atomic<int> resident{0};  // blocks
  std::atomic<unsigned> grid_arrived{0}, grid_phase{0}, blocks_done{0};
  std::atomic<unsigned> next_serial{1};  // of blocks
};
extern GridState grid;

struct alignas(CACHE_LINES) Worker {
  void* main_stack_pointer = nullptr;
  ReadyQueue ready;
  std::vector<Block*> starting;  // whose threads have not all begun; fifo and reverse begin them before others go on
  Schedule policy = Schedule::fifo;
  std::vector<char*> stacks;  // free ones
  std::vector<std::unique_ptr<Block>> spare;
  std::vector<std::unique_ptr<Cluster>> clusters;
  std::vector<std::unique_ptr<Block>> resident;
  std::vector<Thread*> polling;
  std::vector<BulkOperation> loads;  // under way
  // What tells a deadlock from a wait: things that happened here (a thread ended, or waited for its own block), and how
  // often pollers have looked in vain since the sum over all workers was `idle_since`.
  // Of the events, `changes` are those that others may see: threads that ended, units that started, atomics.
  std::atomic<uint64_t> events{0}, changes{0}, idle_since{0}, unchanged_since{0};
  std::atomic<int> idle_rounds{0}, unchanged_rounds{0};
  std::atomic<bool> running{false};
  unsigned random_state = 1;
  void* escape = nullptr;                  // sigjmp_buf of the launch
  const BulkOperation* landing = nullptr;  // an async copy that completes now, on behalf of no thread
  char* signal_stack = nullptr;

  Thread* pick();
  Thread* pick_new();  // the next thread of a block that has not begun, or null
  void start_unit(unsigned unit);
  void run_launch();
  void abandon();
  void event() { events.store(events.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  void change() {
    event();
    changes.store(changes.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  unsigned random() { return random_state = random_state * 1664525u + 1013904223u; }

 private:
  bool complete_one();
  bool wake_pollers(bool all);
  bool start_more();
  bool wait_for_others();
};
extern __thread Worker* worker __attribute__((tls_model("initial-exec")));

inline Thread& current() { return *static_cast<Thread*>(emu_current); }
inline bool late() { return grid.launch->late != 0; }
inline Schedule schedule() { return static_cast<Schedule>(grid.launch->schedule); }

// ---- fiber.cpp
extern "C" void emu_switch(void** save, void* to);
char* take_stack(Worker& on);
void prepare(Thread& thread, char* stack);

// ---- scheduler.cpp
void wait(State state, const char* file, int line);  // parks the running thread until `wake`
void wake(Thread* thread);
void thread_exits(Thread& thread);
void retire(Block& block);

// ---- atomics.cpp: a volatile access to global memory, which a fence turns into part of an order
void relaxed_access(const void* p, bool write);

// ---- barrier.cpp
void cluster_thread_exits(Block& block);

// ---- tma.cpp
void bulk_execute(const BulkOperation& operation);
void bulk_thread_exits(Thread& thread);

// ---- shared memory
struct SharedAddress {
  Block* block;
  unsigned offset;
  char* pointer;
};
// Of shared::cta instructions, which take no address of another block, and of shared::cluster ones.
char* shared_pointer(Block& block, unsigned address, unsigned bytes, const char* file, int line);
SharedAddress cluster_pointer(Block& from, unsigned address, unsigned bytes, const char* file, int line);

// ---- errors.cpp
std::string describe_wait(const Thread& thread);
[[noreturn]] void fail(const char* file, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));
[[noreturn]] void deadlock(Worker& on);
const char* base_name(const char* path);
#define FAIL(...) fail(file, line, __VA_ARGS__)

}  // namespace emulator
