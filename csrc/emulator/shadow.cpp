// Shadow cells, and the judgement of every access.
#include "runtime.h"

#include <algorithm>
#include <new>
#include <sys/mman.h>

#include "memory.h"

namespace emulator {

constexpr int MOST_SHARED_READERS = 64, MOST_GLOBAL_READERS = 4;  // remembered per cell
constexpr uint16_t POISON_HALF = 0xfff5;                          // memory.cpp fills new arrays with it

// ---- cells

static Cell* map_cells(size_t count) {
  void* cells =
      mmap(nullptr, count * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (cells == MAP_FAILED) throw std::bad_alloc();
  return static_cast<Cell*>(cells);
}

Shadow::Shadow(size_t bytes, bool keep_written)
    : bytes_((bytes + 3) / 4 * 4),
      keep_written_(keep_written),
      words_(map_cells(bytes_ / 4 + 1)),
      singles_(map_cells(bytes_ + 1)) {}

Shadow::~Shadow() {
  munmap(words_, (bytes_ / 4 + 1) * sizeof(Cell));
  munmap(singles_, (bytes_ + 1) * sizeof(Cell));
}

void Shadow::start(uint32_t generation, uint32_t previous) {
  generation_ = generation, previous_ = previous;
  lists_.resize(1);
  unused_ = 0;
}

// A cell of an earlier generation forgets its accesses; but for those of the launch before, which a dependent launch
// may overlap.
Cell& Shadow::fresh(Cell& cell) {
  if (cell.generation == generation_) return cell;
  const bool overlaps = previous_ && cell.generation == previous_;
  const Access before{PREVIOUS_GRID, 1, 0, 0, SEVERAL_LANES, false};
  cell.writer = overlaps && cell.writer.serial ? before : Access{};
  cell.reader = overlaps && cell.reader.serial ? before : Access{};
  cell.more = 0;
  cell.pending = cell.generic = false;
  if (!keep_written_) cell.written = cell.split = false;
  cell.generation = generation_;
  return cell;
}

uint32_t Shadow::take(const Access& reader, uint32_t next) {
  if (unused_) {
    const uint32_t i = unused_;
    unused_ = lists_[i].next;
    lists_[i] = {reader, next};
    return i;
  }
  lists_.push_back({reader, next});
  return uint32_t(lists_.size() - 1);
}

void Shadow::add_reader(Cell& cell, const Access& reader, int most) {
  int count = 0;
  for (uint32_t i = cell.more; i; i = lists_[i].next) {
    if ((lists_[i].reader.serial == reader.serial && lists_[i].reader.warp == reader.warp) || ++count == most) {
      lists_[i].reader = reader;
      return;
    }
  }
  cell.more = take(reader, cell.more);
}

void Shadow::forget_readers(Cell& cell) {
  while (cell.more) {
    const uint32_t i = cell.more;
    cell.more = lists_[i].next;
    lists_[i].next = unused_;
    unused_ = i;
  }
  cell.reader = Access{};
}

void Shadow::split(Cell& word, size_t first) {
  for (size_t byte = first; byte < first + 4; byte++) {
    Cell& single = singles_[byte];
    single = word;
    single.more = 0;
    for (uint32_t i = word.more; i; i = lists_[i].next) single.more = take(lists_[i].reader, single.more);
  }
  forget_readers(word);
  word.split = true;
}

template <class Visit>
void Shadow::each(size_t offset, size_t bytes, bool writes, Visit visit) {
  const size_t end = offset + bytes;
  for (size_t first = offset / 4 * 4; first < end; first += 4) {
    Cell& word = fresh(words_[first / 4]);
    const bool whole = offset <= first && first + 4 <= end;
    if (!word.split) {
      if (whole) {
        visit(word, first, size_t(4));
        continue;
      }
      split(word, first);
    }
    for (size_t byte = std::max(first, offset); byte < std::min(first + 4, end); byte++)
      visit(fresh(singles_[byte]), byte, size_t(1));
    if (whole && writes) {  // alike again
      word = singles_[first];
      word.split = false;
    }
  }
}

// ---- the judgement

namespace {

struct Judge {
  Shadow& shadow;
  Block& by;
  int mode, warp, lane;
  const char *file, *what;
  int line;
  const char* place;  // printf format of an address, and the address
  uintptr_t address;

  bool write() const { return mode & WRITE; }
  bool atomic() const { return mode & ATOMIC; }

  [[noreturn]] void race(uintptr_t at, const char* kind, const Access& other) const {
    char where[64], who[96];
    snprintf(where, sizeof where, place, address + at);
    if (other.serial == PREVIOUS_GRID) {
      FAIL("race: %s of %s before grid_dependency_wait, while the previous kernel may still %s it", what, where, kind);
    }
    if (other.serial == by.serial) {
      if (other.warp == warp) {
        FAIL("race: %s of %s by lane %d after a %s by %s%d of the same warp without __syncwarp", what, where, lane,
             kind, other.lane == SEVERAL_LANES ? "several lanes, one of them " : "lane ",
             other.lane == SEVERAL_LANES ? lane : other.lane);
      }
      snprintf(who, sizeof who, other.warp >= AGENT ? "TMA" : "warp %d", other.warp);
      FAIL("race: %s of %s by warp %d is not ordered after the %s by %s", what, where, warp, kind, who);
    }
    describe(other, who, sizeof who);
    FAIL("race: %s of %s is not ordered after the %s by %s", what, where, kind, who);
  }

  void describe(const Access& other, char* who, size_t room) const {
    for (const auto& block : worker->resident) {
      if (block->serial != other.serial) continue;
      const uint3 i = block->index;
      snprintf(who, room, "warp %d of block (%u,%u,%u)", other.warp, i.x, i.y, i.z);
      return;
    }
    const uint3 i = grid.checks.indices[other.serial];
    snprintf(who, room, "warp %d of block (%u,%u,%u)", other.warp, i.x, i.y, i.z);
  }

  bool same_warp(const Access& other) const { return other.serial == by.serial && other.warp == warp; }

  bool unordered(const Access& other) const {
    if (other.atomic && atomic()) return false;
    if (same_warp(other)) {
      return other.lane != lane && other.lane != 255 && lane != SEVERAL_LANES &&
             !(mode & ASYNC && other.lane == SEVERAL_LANES) && other.epoch >= by.checks.lanes[warp][lane];
    }
    return other.clock > by.checks.warps[warp].of(other.serial, other.warp);
  }

  void operator()(Cell& cell, size_t at) const {
    if (cell.pending) {
      char where[64];
      snprintf(where, sizeof where, place, address + at);
      FAIL("%s of %s while an async copy into it is in flight (a missing wait?)", what, where);
    }
    if (cell.writer.serial && unordered(cell.writer)) race(at, "write", cell.writer);
    if (write()) {
      shadow.each_reader(cell, [&](const Access& reader) {
        if (!((mode & ASYNC) && same_warp(reader)) && unordered(reader)) race(at, "read", reader);
      });
    }
    const Access me{by.serial, by.checks.warps[warp].own[warp], by.checks.epochs[warp], uint8_t(warp), uint8_t(lane),
                    atomic()};
    if (write()) {
      shadow.forget_readers(cell);
      cell.writer = me;
      cell.written = cell.generic = true;
    } else {
      remember(cell, me);
    }
  }

  void remember(Cell& cell, Access me) const {
    const Access& last = cell.reader;
    if (last.serial && same_warp(last)) {
      if (last.lane != me.lane && lane < WARP && last.epoch >= by.checks.lanes[warp][lane]) me.lane = SEVERAL_LANES;
      me.atomic = me.atomic && last.atomic;
    } else if (last.serial && last.clock > by.checks.warps[warp].of(last.serial, last.warp)) {
      shadow.add_reader(cell, last, &shadow == by.checks.shared.get() ? MOST_SHARED_READERS : MOST_GLOBAL_READERS);
    }
    cell.reader = me;
  }
};

}  // namespace

void shared_access(Block& memory, unsigned offset, unsigned bytes, int mode, Block& by, int warp, int lane,
                   const char* file, int line, const char* what) {
  if (&memory != &by) {
    if (!by.checks.warps[warp].knows(memory.serial)) {
      FAIL("%s of the shared memory of cluster rank %u, which may not have started: no cluster_sync lies before", what,
           memory.cluster_rank);
    }
    memory.checks.remote[{by.serial, warp}] = {by.checks.warps[warp].own[warp], file, line};
  }
  Shadow& shadow = *memory.checks.shared;
  const Judge judge{shadow, by, mode, warp, lane, file, what, line, "shared 0x%lx", 0};
  shadow.each(offset, bytes, mode & WRITE, [&](Cell& cell, size_t at, size_t) {
    if (!cell.written && !cell.pending && (!(mode & WRITE) || (mode & UPDATE)))
      FAIL("%s of uninitialised shared 0x%zx", what, at);
    if ((mode & ASYNC) && !(mode & WRITE) && cell.generic && cell.writer.serial == memory.serial &&
        memory.checks.proxy_fences[cell.writer.warp] <= cell.writer.clock)
      FAIL("%s of shared 0x%zx, written by ordinary stores, without fence_proxy_async", what, at);
    judge(cell, at);
  });
}

void shared_pending(Block& memory, unsigned offset, unsigned bytes, bool pending) {
  memory.checks.shared->each(offset, bytes, true, [&](Cell& cell, size_t, size_t) { cell.pending = pending; });
}

void shared_read_by_stores(Block& memory, unsigned offset, unsigned bytes, uint32_t clock) {
  Shadow& shadow = *memory.checks.shared;
  const Access reader{memory.serial, clock, 0, STORES, SEVERAL_LANES, false};
  shadow.each(offset, bytes, false,
              [&](Cell& cell, size_t, size_t) { shadow.add_reader(cell, reader, MOST_SHARED_READERS); });
}

void shared_landed(Block& memory, unsigned offset, unsigned bytes, int warp, int lane, uint32_t clock, bool generic) {
  const uint32_t epoch = warp < WARPS ? memory.checks.epochs[warp] : 0;
  const Access writer{memory.serial, clock, epoch, uint8_t(warp), uint8_t(lane), false};
  memory.checks.shared->each(offset, bytes, true, [&](Cell& cell, size_t, size_t) {
    cell.pending = false;
    cell.written = true;
    cell.generic = generic;
    cell.writer = writer;
  });
}

// New memory holds the pattern; what a kernel has written is known, and what the host has written differs from it.
static bool poisoned(const char* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 2) {
    uint16_t half;
    memcpy(&half, reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(p + i) & ~uintptr_t(1)), 2);
    if (half != POISON_HALF) return false;
  }
  return true;
}

void global_access(const void* p, size_t bytes, int mode, Block& by, int warp, int lane, const char* file, int line,
                   const char* what) {
  Allocation* allocation = find_allocation(p, bytes);
  if (!allocation) FAIL("%s of %zu bytes out of bounds: %p is in no device array", what, bytes, p);
  if (!allocation->shadow) allocation->shadow = std::make_unique<Shadow>(allocation->bytes, true);
  Shadow& shadow = *allocation->shadow;
  if (shadow.generation() != grid.checks.generation) shadow.start(grid.checks.generation, grid.checks.previous);
  const Judge judge{shadow, by,   mode, warp,           lane,
                    file,   what, line, "global 0x%lx", reinterpret_cast<uintptr_t>(allocation->begin)};
  const bool reads = !(mode & WRITE) || (mode & UPDATE);
  shadow.each(size_t(static_cast<const char*>(p) - allocation->begin), bytes, mode & WRITE,
              [&](Cell& cell, size_t at, size_t width) {
                const char* byte = allocation->begin + at;
                if (reads && !cell.written && poisoned(byte, width))
                  FAIL("%s of uninitialised global memory: byte %zu of an array of %zu", what, at, allocation->bytes);
                judge(cell, at);
              });
}

// ---- blocks

void start_checks(Block& block) {
  BlockChecks& checks = block.checks;
  for (int warp = 0; warp < WARPS; warp++) {
    checks.warps[warp].reset(block.serial);
    checks.warps[warp].own[warp] = 1;
    checks.epochs[warp] = 1;
    for (uint32_t& known : checks.lanes[warp]) known = 1;
    checks.proxy_fences[warp] = 0;
    checks.any_fence[warp] = checks.any_notice[warp] = false;
    checks.fenced[warp].reset();
    checks.noticed[warp].reset();
  }
  checks.agent = checks.stores = 0;
  checks.mbarriers.clear();
  checks.mbarrier_epochs.clear();
  checks.remote.clear();
  if (!checks.shared) checks.shared = std::make_unique<Shadow>(ARENA);
  checks.shared->start(block.serial, 0);
  grid.checks.indices[block.serial] = block.index;
}

void end_checks(Block& block) {
  for (const auto& [who, access] : block.checks.remote) {
    bool known = false;
    for (const Clock& warp : block.checks.warps) known |= warp.of(who.first, who.second) >= access.clock;
    if (known) continue;
    const uint3 i = grid.checks.indices[who.first];
    const char* file = access.file;
    const int line = access.line;
    FAIL(
        "cluster rank %u exits although block (%u,%u,%u) may still use its shared memory: no cluster_sync lies between",
        block.cluster_rank, i.x, i.y, i.z);
  }
}

}  // namespace emulator
