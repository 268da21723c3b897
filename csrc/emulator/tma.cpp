// TMA: boxes of tensors, columns of pixels and plain bytes between global memory and the shared memory of this block,
// or of several blocks of the cluster.
#include "runtime.h"

#include "layouts.h"
#include "mbarrier.h"
#include "numbers.h"
#include "tensor_map.h"

namespace emulator {

static TensorMapFields fields(const BulkOperation& operation) {
  TensorMapFields map;
  memcpy(&map, &operation.map, sizeof map);
  return map;
}

// ---- where the rows of a box lie

// Rows come in the order in which they lie in shared memory. PTX ISA, "Tiled mode" and "Im2col mode" of "Tensors".
class Rows {
 public:
  Rows(const TensorMapFields& map, const BulkOperation& operation) : map_(map), offsets_(operation.offsets) {
    for (int i = 1; i < map.rank; i++) start_[i] = at_[i] = operation.coordinates[i];
  }

  // The address of the row's element 0 of the innermost dimension; null if the row lies outside of the tensor.
  char* address() const {
    char* row = map_.address;
    for (int i = 1; i < map_.rank; i++) {
      const int64_t at = at_[i] + (map_.im2col && i + 1 < map_.rank ? offsets_[i - 1] : 0);
      if (at < 0 || at >= map_.size(i)) return nullptr;
      row += at * int64_t(map_.strides[i - 1]);
    }
    return row;
  }

  void next() { map_.im2col ? next_pixel() : next_in_box(); }

 private:
  void next_in_box() {
    for (int i = 1; i < map_.rank; i++) {
      at_[i] += map_.steps[i];
      if (at_[i] < start_[i] + int64_t(map_.box[i]) * map_.steps[i]) return;
      at_[i] = start_[i];
    }
  }

  // Through the bounding box in width, height and depth, then on to the next image.
  void next_pixel() {
    for (int i = 1; i + 1 < map_.rank; i++) {
      at_[i] += map_.steps[i];
      if (at_[i] < map_.size(i) + map_.upper[i - 1]) return;
      at_[i] = map_.lower[i - 1];
    }
    at_[map_.rank - 1]++;
  }

  const TensorMapFields& map_;
  const unsigned short* offsets_;
  int64_t start_[5] = {}, at_[5] = {};
};

// ---- elements

static uint32_t round_tf32(uint32_t bits) {  // to nearest even; infinities and NaN stay
  if ((bits & 0x7f800000) == 0x7f800000) return bits;
  return (bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000;
}

// What TMA does to elements on their way: tf32 is rounded.
static void convert(char* elements, unsigned bytes, const TensorMapFields& map) {
  constexpr int TFLOAT32 = 11, TFLOAT32_FTZ = 12;
  if (map.type != TFLOAT32 && map.type != TFLOAT32_FTZ) return;
  for (unsigned i = 0; i < bytes; i += 4) {
    uint32_t bits;
    memcpy(&bits, elements + i, 4);
    bits = round_tf32(bits);
    memcpy(elements + i, &bits, 4);
  }
}

template <class T, class Sum>
static void add_as(char* to, const char* from, unsigned bytes, Sum sum) {
  for (unsigned i = 0; i < bytes; i += sizeof(T)) {
    T x, y;
    memcpy(&x, to + i, sizeof x), memcpy(&y, from + i, sizeof y);
    x = sum(x, y);
    memcpy(to + i, &x, sizeof x);
  }
}

// Sums of 16-bit floats are rounded once, of float's sum, which is exact enough for that.
static void add(char* to, const char* from, unsigned bytes, const BulkOperation& operation, int type) {
  const char* file = operation.file;
  const int line = operation.line;
  constexpr int UINT32 = 2, INT32 = 3, UINT64 = 4, FLOAT16 = 6, FLOAT32 = 7, FLOAT64 = 8, BFLOAT16 = 9;
  const auto plain = [](auto x, auto y) { return decltype(x)(x + y); };
  switch (type) {
    case UINT32:
    case INT32:
      return add_as<uint32_t>(to, from, bytes, plain);
    case UINT64:
      return add_as<uint64_t>(to, from, bytes, plain);
    case FLOAT16:
      return add_as<_Float16>(to, from, bytes, [](_Float16 x, _Float16 y) { return _Float16(float(x) + y); });
    case FLOAT32:
      return add_as<float>(to, from, bytes, plain);
    case FLOAT64:
      return add_as<double>(to, from, bytes, plain);
    case BFLOAT16:
      return add_as<uint16_t>(to, from, bytes, [](uint16_t x, uint16_t y) {
        return to_bf16(from_bits(uint32_t(x) << 16) + from_bits(uint32_t(y) << 16));
      });
    default:
      FAIL("TMA reduction: expected a type that can be added, got %d", type);
  }
}

// ---- execution

// The range of a row's bytes [byte, byte + 16) that lies inside of the tensor.
struct Inside {
  unsigned begin, end;
};

static Inside inside(const TensorMapFields& map, int64_t first_column, unsigned byte) {
  const int64_t width = map.element_bytes, row = map.size(0) * width;
  const int64_t at = first_column * width + byte;
  const auto clamp = [](int64_t x) { return unsigned(x < 0 ? 0 : x > 16 ? 16 : x); };
  return {clamp(-at), clamp(row - at)};
}

// One box into, or out of, the shared memory of one block.
static void copy_box(const BulkOperation& operation, Block& block, uint32_t clock) {
  const TensorMapFields map = fields(operation);
  const char* name = operation.load ? "TMA load" : "TMA store";
  Rows rows(map, operation);
  for (unsigned row = 0; row < map.rows(); row++, rows.next()) {
    char* global = rows.address();
    for (unsigned byte = 0; byte < map.row_bytes(); byte += 16) {
      const unsigned offset = layouts::swizzle(operation.shared + row * map.row_bytes() + byte, map.swizzle);
      char* shared = operation.taken.empty() ? shared_pointer(block, offset, 16, operation.file, operation.line)
                                             : const_cast<char*>(&operation.taken[offset - operation.shared]);
      const Inside part = inside(map, operation.coordinates[0], byte);
      const bool any = global && part.begin < part.end;
      const unsigned count = any ? part.end - part.begin : 0;
      char* element =
          any ? global + int64_t(operation.coordinates[0]) * map.element_bytes + byte + part.begin : nullptr;
      if (any && block.checked) {
        global_access(element, count,
                      operation.load  ? READ
                      : operation.add ? WRITE | ATOMIC
                                      : WRITE,
                      *operation.block, operation.warp, 0, operation.file, operation.line, name);
      }
      if (operation.load) {
        if (count < 16) memset(shared, map.fill_nan ? 0xff : 0, 16);
        if (any) {
          memcpy(shared + part.begin, element, count);
          convert(shared + part.begin, count, map);
        }
        if (block.checked) shared_landed(block, offset, 16, AGENT, 0, clock, false);
      } else if (any && operation.add) {
        add(element, shared + part.begin, count, operation, map.type);
      } else if (any) {
        memcpy(element, shared + part.begin, count);
      }
    }
  }
}

static void copy_bytes(const BulkOperation& operation, Block& block, uint32_t clock) {
  constexpr int FLOAT32 = 7;
  auto* global = static_cast<char*>(operation.global);
  char* shared = operation.taken.empty()
                     ? shared_pointer(block, operation.shared, operation.bytes, operation.file, operation.line)
                     : const_cast<char*>(operation.taken.data());
  if (block.checked) {
    global_access(global, operation.bytes,
                  operation.load  ? READ
                  : operation.add ? WRITE | ATOMIC
                                  : WRITE,
                  *operation.block, operation.warp, 0, operation.file, operation.line,
                  operation.load ? "bulk load" : "bulk store");
  }
  if (operation.load) {
    memcpy(shared, global, operation.bytes);
    if (block.checked) shared_landed(block, operation.shared, operation.bytes, AGENT, 0, clock, false);
  } else if (operation.add) {
    add(global, shared, operation.bytes, operation, FLOAT32);
  } else {
    memcpy(global, shared, operation.bytes);
  }
}

static void execute_store(const BulkOperation& operation) {
  operation.global ? copy_bytes(operation, *operation.block, 0) : copy_box(operation, *operation.block, 0);
}

static void execute_load(const BulkOperation& operation) {
  const char* file = operation.file;
  const int line = operation.line;
  for (unsigned rank = 0; rank < operation.block->cluster_blocks; rank++) {
    if (!(operation.mask >> rank & 1)) continue;
    Block& block = operation.block->cluster_home ? *operation.block->cluster_home->blocks[rank] : *operation.block;
    if (block.exited) FAIL("TMA load into the shared memory of cluster rank %u, which has exited", rank);
    const uint32_t clock = ++block.checks.agent;
    operation.global ? copy_bytes(operation, block, clock) : copy_box(operation, block, clock);
    if (block.checked) {
      Clock& known = block.checks.mbarriers[operation.barrier];
      if (!known.serial) known.serial = block.serial;
      known.own[AGENT] = clock;
    }
    mbarrier_update(block, operation.barrier, 0, -int64_t(operation.bytes), file, line);
  }
}

void bulk_execute(const BulkOperation& operation) {
  operation.load ? execute_load(operation) : execute_store(operation);
}

// ---- issue: what the instructions demand of their operands

static BulkOperation started(unsigned shared, const char* file, int line) {
  BulkOperation operation{};
  operation.block = &current().home(), operation.warp = current().warp;
  operation.shared = shared & OFFSET_MASK;
  operation.file = file, operation.line = line;
  return operation;
}

static BulkOperation box_operation(bool im2col, const void* map, int rank, const int* coordinates,
                                   const unsigned short* offsets, unsigned shared, const char* file, int line) {
  BulkOperation operation = started(shared, file, line);
  memcpy(&operation.map, map, sizeof operation.map);
  const TensorMapFields described = fields(operation);
  if (described.magic != TENSOR_MAP_MAGIC) FAIL("TMA: expected a tensor map, got other bytes");
  if (described.rank != rank) FAIL("TMA: expected a tensor map of %d dimensions, got %d", rank, described.rank);
  if (described.im2col != im2col)
    FAIL("TMA: expected a tensor map %s",
         im2col ? "of im2col mode, got a tiled one" : "of tiled mode, got an im2col one");
  const unsigned alignment = described.swizzle ? 128u << described.swizzle : 128u;
  if (operation.shared % alignment)
    FAIL("TMA: expected a shared address aligned to %u bytes, got 0x%x", alignment, operation.shared);
  operation.rank = rank;
  for (int i = 0; i < rank; i++) operation.coordinates[i] = coordinates[i];
  const int most = rank == 3 ? 65535 : rank == 4 ? 255 : 31;  // the bits that the instruction has for offsets
  for (int i = 0; offsets && i < rank - 2; i++) {
    if (offsets[i] > most) FAIL("TMA im2col: expected offsets up to %d, got %d", most, offsets[i]);
    operation.offsets[i] = offsets[i];
  }
  operation.bytes = described.rows() * described.row_bytes();
  return operation;
}

static BulkOperation bytes_operation(const void* global, unsigned shared, unsigned bytes, const char* file, int line) {
  if (reinterpret_cast<uintptr_t>(global) % 16)
    FAIL("bulk copy: expected a global address aligned to 16, got %p", global);
  if (shared % 16) FAIL("bulk copy: expected a shared address aligned to 16, got 0x%x", shared);
  if (bytes % 16) FAIL("bulk copy: expected a multiple of 16 bytes, got %u", bytes);
  BulkOperation operation = started(shared, file, line);
  operation.global = const_cast<void*>(global), operation.bytes = bytes;
  return operation;
}

// mask: ranks that receive; 0 for the block that the destination is an address of.
static void start_load(BulkOperation operation, unsigned destination, unsigned barrier, unsigned mask) {
  const char* file = operation.file;
  const int line = operation.line;
  Thread& thread = current();
  Block& from = thread.home();
  const unsigned own = from.cluster_rank, to = destination >> RANK_SHIFT, at = barrier >> RANK_SHIFT;
  if ((to ? to - 1 : own) != (at ? at - 1 : own)) FAIL("TMA load: expected destination and mbarrier of one block");
  operation.load = true;
  operation.barrier = barrier & OFFSET_MASK;
  operation.mask = mask ? mask : 1u << (to ? to - 1 : own);
  if (operation.mask >> from.cluster_blocks)
    FAIL("TMA load: expected ranks below the cluster's %u, got mask 0x%x", from.cluster_blocks, operation.mask);
  for (unsigned rank = 0; rank < from.cluster_blocks; rank++) {
    if (!(operation.mask >> rank & 1)) continue;
    const unsigned address = from.cluster_home ? operation.shared | (rank + 1) << RANK_SHIFT : operation.shared;
    const SharedAddress place = cluster_pointer(from, address, operation.bytes, file, line);
    mbarrier_check_fence(*place.block, operation.barrier, file, line);
    if (from.checked) {
      shared_access(*place.block, place.offset, operation.bytes, WRITE | ASYNC, from, thread.warp, thread.lane, file,
                    line, "TMA load");
      shared_pending(*place.block, place.offset, operation.bytes, true);
    }
    if (late()) memset(place.pointer, 0xff, operation.bytes);
  }
  if (late())
    worker->loads.push_back(operation);
  else
    bulk_execute(operation);
}

static void start_store(BulkOperation operation) {
  Thread& thread = current();
  Block& block = thread.home();
  shared_pointer(block, operation.shared, operation.bytes, operation.file, operation.line);
  if (block.checked) {
    shared_access(block, operation.shared, operation.bytes, READ | ASYNC, block, thread.warp, thread.lane,
                  operation.file, operation.line, "TMA store");
    operation.clock = ++block.checks.stores;
    shared_read_by_stores(block, operation.shared, operation.bytes, operation.clock);
  }
  if (!late()) bulk_execute(operation);
  thread.transfers = true;
  thread.stores.push_back(operation);
}

// The waiting warp knows that shared memory was read, and passes it on at barriers.
static void acquire_reads(Thread& thread, const std::vector<BulkOperation>& group) {
  if (!thread.home().checked) return;
  uint32_t& known = thread.home().checks.warps[thread.warp].own[STORES];
  for (const BulkOperation& operation : group) known = known > operation.clock ? known : operation.clock;
}

// Reads what groups of stores still have to read; they write it when they are waited for, or when the thread exits.
static void take(std::vector<BulkOperation>& group) {
  for (BulkOperation& operation : group) {
    if (!operation.taken.empty()) continue;
    const char* from =
        shared_pointer(*operation.block, operation.shared, operation.bytes, operation.file, operation.line);
    operation.taken.assign(from, from + operation.bytes);
  }
}

void bulk_thread_exits(Thread& thread) {
  if (!thread.stores.empty()) {
    const BulkOperation& first = thread.stores.front();
    fail(first.file, first.line, "bulk store: expected bulk_commit and a wait before the thread exits");
  }
  for (const auto& group : thread.store_groups) {
    for (const BulkOperation& operation : group) {
      if (operation.taken.empty() && late())
        fail(operation.file, operation.line,
             "bulk store: expected bulk_wait_read or bulk_wait before the thread exits");
      if (late()) bulk_execute(operation);
    }
  }
  thread.store_groups.clear();
}

}  // namespace emulator

using namespace emulator;

extern "C" void emu_tma_load(unsigned destination, const void* map, int rank, const int* coordinates, unsigned barrier,
                             const char* file, int line) {
  start_load(box_operation(false, map, rank, coordinates, nullptr, destination, file, line), destination, barrier, 0);
}

extern "C" void emu_tma_load_im2col(unsigned destination, const void* map, int rank, const int* coordinates,
                                    const unsigned short* offsets, unsigned barrier, const char* file, int line) {
  start_load(box_operation(true, map, rank, coordinates, offsets, destination, file, line), destination, barrier, 0);
}

extern "C" void emu_tma_load_multicast(unsigned destination, const void* map, int rank, const int* coordinates,
                                       const unsigned short* offsets, unsigned barrier, unsigned mask, const char* file,
                                       int line) {
  if (!(mask & 0xffff)) FAIL("TMA multicast: expected a mask of at least one block, got 0");
  start_load(box_operation(offsets != nullptr, map, rank, coordinates, offsets, destination, file, line), destination,
             barrier, mask & 0xffff);
}

extern "C" void emu_tma_store(const void* map, int rank, const int* coordinates, unsigned source, int im2col,
                              const char* file, int line) {
  start_store(box_operation(im2col != 0, map, rank, coordinates, nullptr, source, file, line));
}

extern "C" void emu_tma_reduce_add(const void* map, int rank, const int* coordinates, unsigned source, const char* file,
                                   int line) {
  BulkOperation operation = box_operation(false, map, rank, coordinates, nullptr, source, file, line);
  operation.add = true;
  start_store(operation);
}

extern "C" void emu_bulk_load(unsigned destination, const void* source, unsigned bytes, unsigned barrier,
                              const char* file, int line) {
  start_load(bytes_operation(source, destination, bytes, file, line), destination, barrier, 0);
}

extern "C" void emu_bulk_store(void* destination, unsigned source, unsigned bytes, int add, const char* file,
                               int line) {
  BulkOperation operation = bytes_operation(destination, source, bytes, file, line);
  operation.add = add != 0;
  start_store(operation);
}

extern "C" void emu_bulk_commit(const char*, int) {
  Thread& thread = current();
  thread.transfers = true;
  thread.store_groups.push_back(std::move(thread.stores));
  thread.stores.clear();
}

extern "C" void emu_bulk_wait(int groups_left, int read_only, const char*, int) {
  Thread& thread = current();
  auto& groups = thread.store_groups;
  for (int i = 0; i < int(groups.size()) - groups_left; i++) {
    acquire_reads(thread, groups[size_t(i)]);
    if (read_only && late()) take(groups[size_t(i)]);
  }
  while (!read_only && int(groups.size()) > groups_left) {
    if (late())
      for (const BulkOperation& operation : groups.front()) bulk_execute(operation);
    groups.pop_front();
  }
}

extern "C" void emu_fence_proxy_async(const char*, int) {
  Thread& thread = current();
  Block& block = thread.home();
  mbarrier_fence(thread);
  if (!block.checked) return;
  BlockChecks& checks = block.checks;
  checks.proxy_fences[thread.warp] = ++checks.warps[thread.warp].own[thread.warp];
}

extern "C" void emu_prefetch_tensor_map(const void* map, const char* file, int line) {
  TensorMapFields described;
  memcpy(&described, map, sizeof described);
  if (described.magic != TENSOR_MAP_MAGIC) FAIL("TMA: expected a tensor map, got other bytes");
}
