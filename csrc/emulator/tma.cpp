// TMA: boxes of tensors between global and shared memory, of this block or of several blocks of the cluster.
#include "runtime.h"

#include "mbarrier.h"
#include "tensor_map.h"

namespace emulator {

// The XOR of a swizzle: 16-byte chunks of the absolute address change places within 32, 64 or 128 bytes.
static unsigned swizzled(unsigned address, int code) { return address ^ ((address >> 3) & (((1u << code) - 1) << 4)); }

static TensorMapFields fields(const BulkOperation& operation) {
  TensorMapFields map;
  memcpy(&map, &operation.map, sizeof map);
  return map;
}

static void add_element(char* to, const char* from, const TensorMapFields& map, const BulkOperation& operation) {
  const char* file = operation.file;
  const int line = operation.line;
  if (map.element_bytes != 4) FAIL("TMA reduction: expected 4-byte elements, got %d", map.element_bytes);
  float x, y;
  memcpy(&x, to, 4), memcpy(&y, from, 4);
  x += y;
  memcpy(to, &x, 4);
}

// One box into, or out of, the shared memory of one block.
static void copy_box(const BulkOperation& operation, Block& block, uint32_t clock) {
  const TensorMapFields map = fields(operation);
  const unsigned width = map.element_bytes, inner = map.box[0] * width;
  unsigned rows = 1;
  for (int i = 1; i < map.rank; i++) rows *= map.box[i];
  for (unsigned row = 0; row < rows; row++) {
    bool inside = true;
    char* global = map.address;
    unsigned rest = row;
    for (int i = 1; i < map.rank; i++) {
      const int64_t at = int64_t(operation.coordinates[i]) + rest % map.box[i];
      rest /= map.box[i];
      inside &= at >= 0 && at < map.size(i);
      global += at * int64_t(map.strides[i - 1]);
    }
    for (unsigned byte = 0; byte < inner; byte += 16) {
      const unsigned offset = swizzled(operation.shared + row * inner + byte, map.swizzle);
      char* shared = shared_pointer(block, offset, 16, operation.file, operation.line);
      for (unsigned in = 0; in < 16; in += width) {
        const int64_t column = int64_t(operation.coordinates[0]) + (byte + in) / width;
        const bool present = inside && column >= 0 && column < map.size(0);
        char* element = global + column * int64_t(width);
        if (operation.load) {
          if (present) memcpy(shared + in, element, width);
          else memset(shared + in, map.fill_nan ? 0xff : 0, width);
        } else if (present) {
          if (operation.add) add_element(element, shared + in, map, operation);
          else memcpy(element, shared + in, width);
        }
        if (block.checked && present)
          global_access(element, width, operation.load ? READ : WRITE, *operation.block, operation.warp, 0,
                        operation.file, operation.line, operation.load ? "TMA load" : "TMA store");
      }
      if (operation.load && block.checked) shared_landed(block, offset, 16, AGENT, 0, clock, false);
    }
  }
}

void bulk_execute(const BulkOperation& operation) {
  if (!operation.load) {
    if (!operation.global) return copy_box(operation, *operation.block, 0);
    Block& block = *operation.block;
    char* shared = shared_pointer(block, operation.shared, operation.bytes, operation.file, operation.line);
    if (block.checked)
      global_access(operation.global, operation.bytes, WRITE, block, operation.warp, 0, operation.file, operation.line,
                    "bulk store");
    if (!operation.add) {
      memcpy(operation.global, shared, operation.bytes);
    } else {
      auto* to = static_cast<float*>(operation.global);
      for (unsigned i = 0; i < operation.bytes / 4; i++) to[i] += reinterpret_cast<const float*>(shared)[i];
    }
    return;
  }
  for (unsigned rank = 0; rank < operation.block->cluster_blocks; rank++) {
    if (!(operation.mask >> rank & 1)) continue;
    Block& block = operation.block->cluster_home ? *operation.block->cluster_home->blocks[rank] : *operation.block;
    const char* file = operation.file;
    const int line = operation.line;
    if (block.exited) FAIL("TMA load into the shared memory of cluster rank %u, which has exited", rank);
    const uint32_t clock = ++block.checks.agent;
    if (operation.global) {
      memcpy(shared_pointer(block, operation.shared, operation.bytes, file, line), operation.global, operation.bytes);
      if (block.checked) shared_landed(block, operation.shared, operation.bytes, AGENT, 0, clock, false);
    } else {
      copy_box(operation, block, clock);
    }
    if (block.checked) {
      Clock& known = block.checks.mbarriers[operation.barrier];
      known.serial = block.serial;
      known.own[AGENT] = clock;
    }
    mbarrier_update(block, operation.barrier, 0, -int64_t(operation.bytes), file, line);
  }
}

// Checks what the instruction demands, and marks where a load will write.
static BulkOperation box_operation(bool load, const void* map, int rank, const int* coordinates, unsigned shared,
                                   unsigned barrier, unsigned mask, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  BulkOperation operation{};
  memcpy(&operation.map, map, sizeof operation.map);
  operation.rank = rank, operation.load = load;
  operation.block = &block, operation.warp = thread.warp;
  operation.shared = shared & OFFSET_MASK, operation.barrier = barrier & OFFSET_MASK;
  operation.mask = mask;
  operation.file = file, operation.line = line;
  for (int i = 0; i < rank; i++) operation.coordinates[i] = coordinates[i];
  const TensorMapFields described = fields(operation);
  if (described.magic != TENSOR_MAP_MAGIC) FAIL("TMA: expected a tensor map, got other bytes");
  if (described.rank != rank) FAIL("TMA: expected a tensor map of rank %d, got %d", rank, described.rank);
  const unsigned alignment = described.swizzle == 3 ? 1024 : described.swizzle == 2 ? 512 : described.swizzle == 1 ? 256 : 128;
  if (operation.shared % alignment)
    FAIL("TMA: expected a shared address aligned to %u bytes, got 0x%x", alignment, operation.shared);
  operation.bytes = described.element_bytes;
  for (int i = 0; i < rank; i++) operation.bytes *= described.box[i];
  return operation;
}

static void start_load(const BulkOperation& operation) {
  const char* file = operation.file;
  const int line = operation.line;
  Thread& thread = current();
  Block& from = thread.home();
  if (!operation.mask || operation.mask >> from.cluster_blocks)
    FAIL("TMA multicast: mask 0x%x names ranks beyond the cluster's %u", operation.mask, from.cluster_blocks);
  for (unsigned rank = 0; rank < from.cluster_blocks; rank++) {
    if (!(operation.mask >> rank & 1)) continue;
    const unsigned address = from.cluster_home ? operation.shared | (rank + 1) << RANK_SHIFT : operation.shared;
    const SharedAddress at = cluster_pointer(from, address, operation.bytes, file, line);
    if (from.checked) {
      shared_access(*at.block, at.offset, operation.bytes, WRITE | ASYNC, from, thread.warp, thread.lane, file, line,
                    "TMA load");
      shared_pending(*at.block, at.offset, operation.bytes, true);
    }
    if (late()) memset(at.pointer, 0xff, operation.bytes);
  }
  if (late()) worker->loads.push_back(operation);
  else bulk_execute(operation);
}

static unsigned own_mask(unsigned destination) {
  const unsigned rank = destination >> RANK_SHIFT;
  return 1u << (rank ? rank - 1 : current().block->cluster_rank);
}

static void start_store(const BulkOperation& operation) {
  Thread& thread = current();
  Block& block = thread.home();
  shared_pointer(block, operation.shared, operation.bytes, operation.file, operation.line);
  if (block.checked)
    shared_access(block, operation.shared, operation.bytes, READ | ASYNC, block, thread.warp, thread.lane,
                  operation.file, operation.line, "TMA store");
  block.stores.push_back(operation);
  if (!late()) bulk_execute(operation);
}

static BulkOperation row_operation(bool load, void* global, unsigned shared, unsigned bytes, const char* file, int line) {
  Thread& thread = current();
  if (reinterpret_cast<uintptr_t>(global) % 16) FAIL("bulk copy: expected a global address aligned to 16, got %p", global);
  if (shared % 16) FAIL("bulk copy: expected a shared address aligned to 16, got 0x%x", shared);
  if (bytes % 16) FAIL("bulk copy: expected a multiple of 16 bytes, got %u", bytes);
  BulkOperation operation{};
  operation.load = load, operation.global = global;
  operation.shared = shared & OFFSET_MASK, operation.bytes = bytes;
  operation.block = &thread.home(), operation.warp = thread.warp;
  operation.file = file, operation.line = line;
  return operation;
}

}  // namespace emulator

using namespace emulator;

extern "C" void emu_tma_load(unsigned destination, const void* map, int rank, const int* coordinates, unsigned barrier,
                             const char* file, int line) {
  start_load(box_operation(true, map, rank, coordinates, destination, barrier, own_mask(destination), file, line));
}

extern "C" void emu_tma_load_im2col(unsigned destination, const void* map, int rank, const int* coordinates,
                                    const unsigned short* offsets, unsigned barrier, const char* file, int line) {
  (void)destination, (void)map, (void)rank, (void)coordinates, (void)offsets, (void)barrier;
  FAIL("TMA im2col: expected a tiled load, got im2col");
}

extern "C" void emu_tma_load_multicast(unsigned destination, const void* map, int rank, const int* coordinates,
                                       const unsigned short* offsets, unsigned barrier, unsigned mask, const char* file,
                                       int line) {
  if (offsets) FAIL("TMA im2col: expected a tiled load, got im2col");
  start_load(box_operation(true, map, rank, coordinates, destination, barrier, mask & 0xffff, file, line));
}

extern "C" void emu_tma_store(const void* map, int rank, const int* coordinates, unsigned source, const char* file,
                              int line) {
  start_store(box_operation(false, map, rank, coordinates, source, 0, 1, file, line));
}

extern "C" void emu_tma_reduce_add(const void* map, int rank, const int* coordinates, unsigned source, const char* file,
                                   int line) {
  BulkOperation operation = box_operation(false, map, rank, coordinates, source, 0, 1, file, line);
  operation.add = true;
  start_store(operation);
}

extern "C" void emu_bulk_load(unsigned destination, const void* source, unsigned bytes, unsigned barrier,
                              const char* file, int line) {
  BulkOperation operation = row_operation(true, const_cast<void*>(source), destination, bytes, file, line);
  Block& block = *operation.block;
  if (block.checked) global_access(source, bytes, READ, block, operation.warp, 0, file, line, "bulk load");
  operation.barrier = barrier & OFFSET_MASK;
  operation.mask = own_mask(destination);
  start_load(operation);
}

extern "C" void emu_bulk_store(void* destination, unsigned source, unsigned bytes, int add, const char* file, int line) {
  BulkOperation operation = row_operation(false, destination, source, bytes, file, line);
  operation.add = add != 0;
  start_store(operation);
}

extern "C" void emu_bulk_commit(const char*, int) {
  Block& block = current().home();
  block.store_groups.push_back(std::move(block.stores));
  block.stores.clear();
}

extern "C" void emu_bulk_wait(int groups_left, int, const char*, int) {
  Block& block = current().home();
  while (int(block.store_groups.size()) > groups_left) {
    if (late())
      for (const BulkOperation& operation : block.store_groups.front()) bulk_execute(operation);
    block.store_groups.pop_front();
  }
}

extern "C" void emu_fence_proxy_async(const char*, int) {
  Thread& thread = current();
  Block& block = thread.home();
  if (!block.checked) return;
  BlockChecks& checks = block.checks;
  checks.proxy_fences[thread.warp] = ++checks.warps[thread.warp].own[thread.warp];
}

extern "C" void emu_prefetch_tensor_map(const void* map, const char* file, int line) {
  TensorMapFields described;
  memcpy(&described, map, sizeof described);
  if (described.magic != TENSOR_MAP_MAGIC) FAIL("TMA: expected a tensor map, got other bytes");
}
