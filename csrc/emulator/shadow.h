// What checked mode remembers: who wrote and read each byte of memory last, and what each warp knows of the others.
//
// Time is counted per warp (a vector clock, with one more entry for the async proxy: TMA). An access is a race if the
// warp that makes it does not know of the other's, because nothing that orders them lies between.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace emulator {

struct Block;
struct Worker;

constexpr int WARPS = 32, AGENT = 32, CLOCKS = 33;

struct TensorMapBits {
  uint64_t words[16];
};

// What is known: of the own block, and of others (which is seldom anything).
class Clock {
 public:
  uint32_t own[CLOCKS] = {};
  uint32_t serial = 0;  // of the block that `own` is of

  void join(const Clock& other);
  void reset(uint32_t of = 0);
  uint32_t of(uint32_t block_serial, int warp) const;

 private:
  using Others = std::map<uint32_t, std::array<uint32_t, CLOCKS>>;
  std::shared_ptr<const Others> others_;  // never changed once it is shared
  void learn(uint32_t block_serial, const uint32_t* clocks);
};

struct Reader {
  uint32_t serial, clock, epoch;
  uint8_t warp, lane;
};

// Four bytes, or, where an access touches fewer, one.
struct Cell {
  uint32_t generation = 0;  // a cell of an older launch, or of an earlier block, is as new
  uint32_t serial = 0, clock = 0, epoch = 0;
  uint8_t warp = 0, lane = 0;
  bool written = false, pending = false, generic = false, atomic = false, split = false;
  uint8_t readers = 0;
  Reader reader{};         // the latest
  uint32_t more = 0;       // others that it does not know of: an index of the shadow's list
};

// The cells of a range of addresses.
class Shadow {
 public:
  explicit Shadow(size_t bytes);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  size_t bytes() const { return bytes_; }
  // Calls visit(cell, first byte) for each cell that [offset, offset + bytes) touches.
  template <class Visit>
  void each(size_t offset, size_t bytes, Visit visit);
  Cell& fresh(Cell& cell);

  uint32_t generation = 1;
  bool keep_written = false;  // what an earlier generation wrote stays initialised
  std::vector<std::pair<Reader, uint32_t>> lists{1};

 private:
  size_t bytes_;
  Cell *words_, *singles_;
};

struct BlockChecks {
  Clock warps[WARPS];
  uint32_t epochs[WARPS];        // counts __syncwarp and barriers: orders lanes
  uint32_t proxy_fences[WARPS];  // the warp's clock at its latest fence.proxy.async
  uint32_t agent = 0;
  Clock fenced[WARPS];   // what the warp knew at its latest __threadfence: a relaxed atomic publishes it
  Clock noticed[WARPS];  // what relaxed atomics have seen: the next __threadfence makes it known
  bool any_fence[WARPS] = {}, any_notice[WARPS] = {};
  std::unordered_map<unsigned, Clock> mbarriers;
  std::unique_ptr<Shadow> shared;
};

struct GridChecks {
  std::unordered_map<const void*, Clock> published;  // by release and by fenced atomics, at an address
  Clock grid_barrier;
};

enum Access { READ = 0, WRITE = 1, ATOMIC = 2, ASYNC = 4 };

void start_checks(Block& block);
// An access by a lane of a block to shared memory (of itself or of another block of its cluster), to global memory.
void shared_access(Block& memory, unsigned offset, unsigned bytes, int mode, Block& by, int warp, int lane,
                   const char* file, int line, const char* what);
void global_access(const void* p, size_t bytes, int mode, Block& by, int warp, int lane, const char* file, int line,
                   const char* what);
// Asynchronous copies: under way, and landed as if `warp` had written at `clock`.
void shared_pending(Block& memory, unsigned offset, unsigned bytes, bool pending);
void shared_landed(Block& memory, unsigned offset, unsigned bytes, int warp, int lane, uint32_t clock, bool generic);
// The running warp tells what it knows, and learns.
void release(Clock& into, Block& block, int warp);
void acquire(const Clock& from, Block& block, int warp);

}  // namespace emulator
