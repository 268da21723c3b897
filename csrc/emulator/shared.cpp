// Shared memory: addresses, cp.async, and the memory of other blocks of a cluster.
#include "runtime.h"

#include "memory.h"

namespace emulator {

char* shared_pointer(Block& block, unsigned address, unsigned bytes, const char* file, int line) {
  if (address >> RANK_SHIFT)
    FAIL("shared memory: expected an address of this block, got one of the cluster (0x%x)", address);
  if (address < RESERVED_SHARED || address + bytes > block.shared_end() || address + bytes < address) {
    FAIL("shared memory: [0x%x, 0x%x) is out of bounds: the block has [0x%x, 0x%x), of which %u bytes are dynamic",
         address, address + bytes, RESERVED_SHARED, block.shared_end(), block.dynamic_bytes);
  }
  return block.arena + address;
}

SharedAddress cluster_pointer(Block& from, unsigned address, unsigned bytes, const char* file, int line) {
  Block* block = &from;
  if (const unsigned rank = address >> RANK_SHIFT) {
    if (rank > from.cluster_blocks)
      FAIL("shared memory of the cluster: 0x%x is no address of map_shared_rank", address);
    if (from.cluster_home) block = from.cluster_home->blocks[rank - 1];
  }
  if (block->exited) {
    FAIL("shared memory of the cluster: block (%u,%u,%u), rank %u, has exited", block->index.x, block->index.y,
         block->index.z, block->cluster_rank);
  }
  const unsigned offset = address & OFFSET_MASK;
  return {block, offset, shared_pointer(*block, offset, bytes, file, line)};
}

static void land(Thread& thread, const CopyOperation& copy) {
  Block& block = thread.home();
  if (late()) {
    char* destination = block.arena + copy.destination;
    memcpy(destination, copy.source, size_t(copy.valid));
    memset(destination + copy.valid, 0, size_t(copy.bytes - copy.valid));
  }
  if (block.checked) {
    const uint32_t clock = block.checks.warps[thread.warp].own[thread.warp];
    shared_landed(block, copy.destination, unsigned(copy.bytes), thread.warp, thread.lane, clock, true);
  }
}

static void land_until(Thread& thread, size_t end) {
  for (size_t& next = thread.copies.landed; next < end; next++) land(thread, thread.copies.issued[next]);
}

}  // namespace emulator

using namespace emulator;

extern "C" unsigned emu_smem_u32(const void* pointer, const char* file, int line) {
  const Block& block = current().home();
  if (!block.holds(pointer)) FAIL("smem_u32: %p is not in shared memory", pointer);
  return unsigned(static_cast<const char*>(pointer) - block.arena);
}

extern "C" void* emu_dynamic_shared(int alignment, const char* file, int line) {
  const Block& block = current().home();
  if (alignment > 1024) FAIL("dynamic shared memory: expected an alignment of at most 1024, got %d", alignment);
  return block.arena + block.dynamic_offset;
}

// What a static __shared__ variable of a kernel is: kernels are linked with --wrap=__tls_get_addr, so that the
// addresses of their thread-local variables are asked for here, and every resident block has its own.
extern "C" void* __wrap___tls_get_addr(const unsigned long* module_and_offset) {
  return emu_current->block->static_shared + module_and_offset[1];
}

extern "C" unsigned emu_map_shared_rank(unsigned address, unsigned rank, const char* file, int line) {
  const EmuBlock& block = *current().block;
  if (rank >= block.cluster_blocks)
    FAIL("map_shared_rank: expected a rank below the cluster's %u, got %u", block.cluster_blocks, rank);
  return (address & OFFSET_MASK) | (rank + 1) << RANK_SHIFT;
}

extern "C" void emu_ld_shared_cluster(void* out, unsigned address, int bytes, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (address % unsigned(bytes))
    FAIL("ld.shared::cluster: expected an address aligned to %d bytes, got 0x%x", bytes, address);
  const SharedAddress at = cluster_pointer(block, address, unsigned(bytes), file, line);
  if (block.checked)
    shared_access(*at.block, at.offset, unsigned(bytes), READ, block, thread.warp, thread.lane, file, line, "load");
  memcpy(out, at.pointer, size_t(bytes));
}

extern "C" void emu_st_shared_cluster(unsigned address, const void* value, int bytes, const char* file, int line) {
  Thread& thread = current();
  Block& block = thread.home();
  if (address % unsigned(bytes))
    FAIL("st.shared::cluster: expected an address aligned to %d bytes, got 0x%x", bytes, address);
  const SharedAddress at = cluster_pointer(block, address, unsigned(bytes), file, line);
  if (block.checked)
    shared_access(*at.block, at.offset, unsigned(bytes), WRITE, block, thread.warp, thread.lane, file, line, "store");
  memcpy(at.pointer, value, size_t(bytes));
}

extern "C" void emu_cp_async(unsigned destination, const void* source, int bytes, int valid, const char* file,
                             int line) {
  Thread& thread = current();
  Block& block = thread.home();
  char* to = shared_pointer(block, destination, unsigned(bytes), file, line);
  if (destination % unsigned(bytes))
    FAIL("cp.async: expected a shared address aligned to %d bytes, got 0x%x", bytes, destination);
  if (valid && reinterpret_cast<uintptr_t>(source) % unsigned(bytes))
    FAIL("cp.async: expected a global address aligned to %d bytes, got %p", bytes, source);
  if (block.checked) {
    if (valid) global_access(source, size_t(valid), READ, block, thread.warp, thread.lane, file, line, "cp.async");
    shared_access(block, destination, unsigned(bytes), WRITE | ASYNC, block, thread.warp, thread.lane, file, line,
                  "cp.async");
    shared_pending(block, destination, unsigned(bytes), true);
  }
  if (late()) {
    memset(to, 0xff, size_t(bytes));
  } else {
    memcpy(to, source, size_t(valid));
    memset(to + valid, 0, size_t(bytes - valid));
  }
  thread.transfers = true;
  thread.copies.issued.push_back({source, destination, short(bytes), short(valid)});
}

extern "C" void emu_cp_commit(const char*, int) {
  Thread& thread = current();
  thread.transfers = true;
  thread.copies.groups.push_back(thread.copies.issued.size());
}

extern "C" void emu_cp_wait(int groups_left, const char*, int) {
  Thread& thread = current();
  Copies& copies = thread.copies;
  while (int(copies.groups.size() - copies.waited) > groups_left) land_until(thread, copies.groups[copies.waited++]);
  constexpr size_t MANY = 256;  // before those that have landed are forgotten
  if (copies.landed == copies.issued.size() && copies.waited == copies.groups.size()) {
    copies.clear();
  } else if (copies.landed > MANY) {
    copies.issued.erase(copies.issued.begin(), copies.issued.begin() + std::ptrdiff_t(copies.landed));
    copies.groups.erase(copies.groups.begin(), copies.groups.begin() + std::ptrdiff_t(copies.waited));
    for (size_t& end : copies.groups) end -= copies.landed;
    copies.landed = copies.waited = 0;
  }
}

// Arrives when this thread's copies so far have landed; here they land at once, which is one of the times they may.
extern "C" void emu_cp_mbar_arrive(unsigned barrier, const char* file, int line) {
  Thread& thread = current();
  land_until(thread, thread.copies.issued.size());
  thread.copies.clear();
  emu_mbar_arrive(barrier, 1, 0, file, line);
}
