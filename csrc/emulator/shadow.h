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

#define EMU_RUNTIME
#include "device.h"

namespace emulator {

struct Block;

constexpr int WARPS = 32, AGENT = 32, STORES = 33, CLOCKS = 34;
constexpr uint8_t SEVERAL_LANES = 254;
// Stands for all blocks of the launch before, which a dependent launch has to wait for.
constexpr uint32_t PREVIOUS_GRID = ~0u;

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
  bool knows(uint32_t block_serial) const { return others_ && others_->count(block_serial); }
  void learn(uint32_t block_serial, const std::array<uint32_t, CLOCKS>& clocks);

 private:
  using Others = std::map<uint32_t, std::array<uint32_t, CLOCKS>>;
  std::shared_ptr<const Others> others_;  // never changed once it is shared
};

struct Access {
  uint32_t serial, clock, epoch;
  uint8_t warp, lane;
  bool atomic;
};

// Four bytes, or, where an access touches fewer, one. All zeros is a new one.
struct Cell {
  uint32_t generation;  // a cell of an older launch, or of an earlier block, is as new
  Access writer;        // serial 0: none
  Access reader;        // the latest; serial 0: none
  uint32_t more;        // readers that it does not know of: an index into the shadow's list
  bool written, pending, generic, split;
};

// The cells of a range of addresses.
class Shadow {
 public:
  // keep_written: what an earlier generation wrote stays initialised.
  explicit Shadow(size_t bytes, bool keep_written = false);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  void start(uint32_t generation, uint32_t previous);
  uint32_t generation() const { return generation_; }
  // Calls visit(cell, first byte, bytes of the cell) for each one that [offset, offset + bytes) touches; `writes`: it
  // makes them alike.
  template <class Visit>
  void each(size_t offset, size_t bytes, bool writes, Visit visit);
  // Readers of a cell besides the latest.
  void add_reader(Cell& cell, const Access& reader, int most);
  void forget_readers(Cell& cell);
  template <class Visit>
  void each_reader(const Cell& cell, Visit visit) const {
    if (!cell.reader.serial) return;
    visit(cell.reader);
    for (uint32_t i = cell.more; i; i = lists_[i].next) visit(lists_[i].reader);
  }

 private:
  struct Listed {
    Access reader;
    uint32_t next;
  };
  Cell& fresh(Cell& cell);
  void split(Cell& word, size_t first);
  uint32_t take(const Access& reader, uint32_t next);

  size_t bytes_;
  bool keep_written_;
  uint32_t generation_ = 0, previous_ = 0, unused_ = 0;
  Cell *words_, *singles_;
  std::vector<Listed> lists_{1};
};

struct RemoteAccess {  // by a warp of another block of the cluster
  uint32_t clock;
  const char* file;
  int line;
};

struct BlockChecks {
  Clock warps[WARPS];
  // Within a warp: accesses are numbered by `epochs`, which __syncwarp, barriers and arrivals count; a lane knows of
  // the other lanes' accesses before `lanes`.
  uint32_t epochs[WARPS] = {}, lanes[WARPS][32] = {};
  uint32_t proxy_fences[WARPS] = {};  // the warp's clock at its latest fence.proxy.async
  uint32_t agent = 0, stores = 0;     // clocks of the async proxy: of what TMA writes, and of what its stores read
  Clock fenced[WARPS];                // what the warp knew at its latest __threadfence: a relaxed atomic publishes it
  Clock noticed[WARPS];               // what relaxed atomics have seen: the next __threadfence makes it known
  bool any_fence[WARPS] = {}, any_notice[WARPS] = {};
  std::unordered_map<unsigned, Clock> mbarriers;
  std::unordered_map<unsigned, std::array<uint32_t, WARPS>> mbarrier_epochs;  // of this block's warps, at arrivals
  std::map<std::pair<uint32_t, int>, RemoteAccess> remote;
  std::unique_ptr<Shadow> shared;
};

struct GridChecks {
  std::unordered_map<const void*, Clock> published;  // by release and by fenced atomics, at an address
  Clock grid_barrier;
  std::unordered_map<uint32_t, uint3> indices;  // of blocks, by serial
  uint32_t generation = 0, previous = 0;        // of the launch, and of the one that a dependent launch may overlap
};

// UPDATE: a write that also reads.
enum Mode { READ = 0, WRITE = 1, ATOMIC = 2, ASYNC = 4, UPDATE = 8 };

void start_checks(Block& block);
// At the end of a block: nobody may still use its shared memory.
void end_checks(Block& block);
// An access by a lane of a block to shared memory (of itself or of another block of its cluster), to global memory.
void shared_access(Block& memory, unsigned offset, unsigned bytes, int mode, Block& by, int warp, int lane,
                   const char* file, int line, const char* what);
void global_access(const void* p, size_t bytes, int mode, Block& by, int warp, int lane, const char* file, int line,
                   const char* what);
// Asynchronous copies: under way, and landed as if `warp` had written at `clock`.
void shared_pending(Block& memory, unsigned offset, unsigned bytes, bool pending);
// Stores of TMA begin to read: a write by who does not know of `clock` is a race.
void shared_read_by_stores(Block& memory, unsigned offset, unsigned bytes, uint32_t clock);
void shared_landed(Block& memory, unsigned offset, unsigned bytes, int warp, int lane, uint32_t clock, bool generic);
// The running warp tells what it knows, and learns.
void release(Clock& into, Block& block, int warp);
void acquire(const Clock& from, Block& block, int warp);
// The lanes of `mask` know of each other; what lanes tell and learn by arriving at, and waiting for, an mbarrier.
void order_lanes(Block& block, int warp, uint32_t mask);
void release_mbarrier(Block& memory, unsigned offset, Block& by, int warp);
void acquire_mbarrier(Block& block, unsigned offset, int warp, int lane);

}  // namespace emulator
