// The hooks of a checked kernel, which g++ compiles with -fsanitize=thread and parts of -fsanitize=undefined. The
// sanitizers' own libraries are not linked: each plain load and store arrives here, with its address.
#include "runtime.h"

#include "memory.h"

namespace emulator {

static bool on_any_stack(const Block& block, const char* p) {
  for (int i = 0; i < block.thread_count; i++) {
    const char* stack = block.threads[size_t(i)].stack;
    if (stack && p >= stack && p < stack + STACK) return true;
  }
  return false;
}

// `isvolatile` accesses order nothing, but do not race among each other: they are relaxed atomics.
static void access(const void* address, unsigned bytes, bool write, bool isvolatile) {
  if (!emu_current) return;
  Thread& thread = current();
  const auto* p = static_cast<const char*>(address);
  if (p >= thread.stack && p < thread.stack + STACK) return;  // registers and local arrays
  Block& block = thread.home();
  if (!block.checked) return;
  const char* file = nullptr;  // the calls tell
  const int line = 0;
  const char* what = write ? "store" : "load";
  const bool vector = (bytes & (bytes - 1)) == 0 && bytes <= 16;
  const int mode = (write ? WRITE : READ) | (isvolatile ? ATOMIC : 0);
  if (block.holds(p)) {
    const auto offset = unsigned(p - block.arena);
    if (offset < RESERVED_SHARED || offset + bytes > block.shared_end())
      FAIL("%s of %u bytes out of bounds: byte %d of %u bytes of dynamic shared memory", what, bytes,
           int(offset) - int(block.dynamic_offset), block.dynamic_bytes);
    if (vector && offset % bytes) FAIL("%s of %u bytes: misaligned shared address 0x%x", what, bytes, offset);
    return shared_access(block, offset, bytes, mode, block, thread.warp, thread.lane, file, line, what);
  }
  const auto at = reinterpret_cast<uintptr_t>(p);
  if (at >= grid.module.begin && at < grid.module.end) return;  // constants
  if (vector && at % bytes) FAIL("%s of %u bytes: misaligned global address %p", what, bytes, address);
  if (!find_allocation(p, bytes)) {
    if (on_any_stack(block, p)) return;
    FAIL("%s of %u bytes out of bounds: %p is in no device array", what, bytes, address);
  }
  global_access(p, bytes, mode, block, thread.warp, thread.lane, file, line, what);
  if (isvolatile) relaxed_access(p, write);
}

struct SourceLocation {  // which the data of every __ubsan handler begins with
  const char* file;
  unsigned line, column;
};

static void undefined(const void* data, const char* what) {
  if (!emu_current) return;
  const auto& at = *static_cast<const SourceLocation*>(data);
  fail(at.file, int(at.line), "%s", what);
}

}  // namespace emulator

using emulator::access;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_atomic_thread_fence(int) {}
void __tsan_read_range(void* p, unsigned long bytes) { access(p, unsigned(bytes), false, false); }
void __tsan_write_range(void* p, unsigned long bytes) { access(p, unsigned(bytes), true, false); }

#define HOOKS(bytes)                                                                     \
  void __tsan_read##bytes(void* p) { access(p, bytes, false, false); }                   \
  void __tsan_write##bytes(void* p) { access(p, bytes, true, false); }                   \
  void __tsan_unaligned_read##bytes(void* p) { access(p, bytes, false, false); }         \
  void __tsan_unaligned_write##bytes(void* p) { access(p, bytes, true, false); }         \
  void __tsan_volatile_read##bytes(void* p) { access(p, bytes, false, true); }           \
  void __tsan_volatile_write##bytes(void* p) { access(p, bytes, true, true); }           \
  void __tsan_unaligned_volatile_read##bytes(void* p) { access(p, bytes, false, true); } \
  void __tsan_unaligned_volatile_write##bytes(void* p) { access(p, bytes, true, true); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
#undef HOOKS

#define HANDLER(name, what) \
  void __ubsan_handle_##name(void* data, void*, void*) { emulator::undefined(data, what); }
HANDLER(type_mismatch_v1, "misaligned (or null) access")
HANDLER(out_of_bounds, "array index out of bounds")
HANDLER(shift_out_of_bounds, "shift out of range")
HANDLER(add_overflow, "signed integer overflow in an addition")
HANDLER(sub_overflow, "signed integer overflow in a subtraction")
HANDLER(mul_overflow, "signed integer overflow in a multiplication")
HANDLER(negate_overflow, "signed integer overflow in a negation")
HANDLER(divrem_overflow, "integer division by zero, or overflow of a division")
HANDLER(pointer_overflow, "pointer overflow")
HANDLER(vla_bound_not_positive, "array of no positive size")
HANDLER(load_invalid_value, "invalid value")
#undef HANDLER
}
