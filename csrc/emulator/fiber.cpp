// Fibers: a thread of a block is a stack and seven saved registers.
#include "runtime.h"

#include <new>
#include <sys/mman.h>

// The x86-64 System V switch: what a callee must preserve goes onto the stack that is left.
asm(R"(.text
.globl emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
.section .note.GNU-stack,"",@progbits
.text
)");

__thread EmuThread* emu_current = nullptr;

namespace emulator {

__thread Worker* worker __attribute__((tls_model("initial-exec"))) = nullptr;

char* take_stack(Worker& on) {
  if (!on.stacks.empty()) {
    char* stack = on.stacks.back();
    on.stacks.pop_back();
    return stack;
  }
  void* mapped = mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapped, PAGE, PROT_NONE);
  return static_cast<char*>(mapped) + PAGE;
}

// Runs threads from their start to their end. A thread that never waits leaves its stack to the next one, so that a
// kernel without collectives is a loop of calls on one warm stack.
static void fiber_main() {
  for (;;) {
    Thread& thread = current();
    grid.launch->invoke(grid.launch->arguments);
    char* stack = thread.stack;
    thread.stack = nullptr;
    thread_exits(thread);
    Thread* next = worker->pick();
    emu_current = next;
    if (next && !next->started) {
      next->started = true;
      next->stack = stack;
      continue;
    }
    worker->stacks.push_back(stack);  // used by others only once this one is left
    void* nowhere;
    emu_switch(&nowhere, next ? next->stack_pointer : worker->main_stack_pointer);
  }
}

void prepare(Thread& thread, char* stack) {
  thread.stack = stack;
  // Staggered, because equal offsets in a page would all fall into one set of the first-level cache.
  const size_t stagger = reinterpret_cast<uintptr_t>(stack) / (STACK + PAGE) * 320 % 16384 / 64 * 64;
  void** top = reinterpret_cast<void**>(stack + STACK - 64 - stagger);
  *--top = nullptr;  // the end of a backtrace
  *--top = reinterpret_cast<void*>(fiber_main);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  thread.stack_pointer = top;
  thread.started = true;
}

}  // namespace emulator
