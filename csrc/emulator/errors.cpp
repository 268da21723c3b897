// Reports: what went wrong, in which thread, at which line. Python turns them into EmulatorError.
#include "runtime.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <unwind.h>

#include "errors.h"

namespace emulator {

static __thread void* fault_address __attribute__((tls_model("initial-exec")));

const char* base_name(const char* path) {
  if (!path) return "?";
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// Calls inside the kernel's library, innermost first, as offsets in it.
struct Calls {
  static constexpr int MOST = 8;
  unsigned long offsets[MOST];
  int count = 0;

  void add(uintptr_t pc) {
    if (pc >= grid.module.begin && pc < grid.module.end && count < MOST) offsets[count++] = pc - grid.module.begin;
  }
};

static _Unwind_Reason_Code add_call(_Unwind_Context* context, void* calls) {
  static_cast<Calls*>(calls)->add(_Unwind_GetIP(context) - 1);  // a return address: the call lies before
  return _URC_NO_REASON;
}

static std::string calls_of_this_thread() {
  Calls calls;
  calls.add(reinterpret_cast<uintptr_t>(fault_address));
  _Unwind_Backtrace(add_call, &calls);
  std::string text;
  char hexadecimal[24];
  for (int i = 0; i < calls.count; i++) {
    snprintf(hexadecimal, sizeof hexadecimal, i ? ",%lx" : "%lx", calls.offsets[i]);
    text += hexadecimal;
  }
  return text;
}

// Fields apart by 0x1f: thread, file, line, the kernel's library, calls as offsets in it, message.
static void leave(const char* file, int line, const char* message) {
  char report[4096], where[160] = "";
  const auto* thread = static_cast<const Thread*>(emu_current);
  if (thread) {
    const uint3 b = thread->block->index, t = thread->index;
    snprintf(where, sizeof where, "block (%u,%u,%u) thread (%u,%u,%u)", b.x, b.y, b.z, t.x, t.y, t.z);
  }
  if (worker->landing) {
    const uint3 i = worker->landing->block->index;
    snprintf(where, sizeof where, "block (%u,%u,%u)", i.x, i.y, i.z);
    worker->landing = nullptr;
  }
  snprintf(report, sizeof report, "%s\x1f%s\x1f%d\x1f%s\x1f%s\x1f%s", where, file ? file : "", line,
           grid.module.path.c_str(), thread ? calls_of_this_thread().c_str() : "", message);
  {
    std::lock_guard<std::mutex> guard(grid.error_lock);
    if (!grid.failed.exchange(true)) grid.error = report;
  }
  fault_address = nullptr;
  emu_current = nullptr;
  siglongjmp(*static_cast<sigjmp_buf*>(worker->escape), 1);
}

void fail(const char* file, int line, const char* format, ...) {
  char message[3000];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  leave(file, line, message);
  __builtin_unreachable();
}

std::string describe_wait(const Thread& thread) {
  static const char* names[] = {"runnable",
                                "a barrier",
                                "a warp collective",
                                "an mbarrier",
                                "a warpgroup instruction",
                                "the cluster barrier",
                                "the grid barrier",
                                "a value in global memory"};
  if (thread.state == State::exited) return "exited";
  std::string text = std::string("wait for ") + names[int(thread.state)];
  char more[96] = "";
  if (thread.state == State::mbarrier)
    snprintf(more, sizeof more, " at shared 0x%x, parity %u,", thread.barrier_address, thread.barrier_parity);
  if (thread.state == State::polling && thread.watched)
    snprintf(more, sizeof more, " at %p (it is %u),", thread.watched, thread.watched_value);
  return text + more + " at " + base_name(thread.file) + ":" + std::to_string(thread.line);
}

void deadlock(Worker& on) {
  std::string message = "deadlock:";
  int blocks = 0;
  for (const auto& block : on.resident) {
    std::map<std::string, std::pair<int, int>> groups;  // what is waited for: how many threads, the first of them
    for (int i = 0; i < block->thread_count; i++) {
      auto& group = groups[describe_wait(block->threads[size_t(i)])];
      if (!group.first++) group.second = i;
    }
    char name[96];
    snprintf(name, sizeof name, " block (%u,%u,%u):", block->index.x, block->index.y, block->index.z);
    message += name;
    const char* separator = " ";
    for (const auto& [what, group] : groups) {
      message +=
          separator + std::to_string(group.first) + " threads (" + std::to_string(group.second) + ", ...) " + what;
      separator = "; ";
    }
    if (++blocks == 4 || message.size() > 2000) break;
  }
  const unsigned total = grid.units * grid.unit_blocks;
  if (!on.polling.empty() && grid.next_unit.load() < grid.units) {
    char more[160];
    snprintf(more, sizeof more, "; of %u blocks, %d are resident and no more fit on the device", total,
             grid.resident.load());
    message += more;
  }
  emu_current = nullptr;
  // Of those that wait, one for another block, or for another warp's doing, says most.
  static const State telling[] = {State::polling,   State::grid, State::cluster, State::mbarrier,
                                  State::warpgroup, State::warp, State::barrier};
  const Thread* some = nullptr;
  for (const State state : telling)
    for (const auto& block : on.resident)
      for (int i = 0; i < block->thread_count && !some; i++)
        if (block->threads[size_t(i)].state == state && block->threads[size_t(i)].file)
          some = &block->threads[size_t(i)];
  fail(some ? some->file : nullptr, some ? some->line : 0, "%s", message.c_str());
}

void on_signal(int signal, siginfo_t* info, void* context) {
  if (worker && worker->landing)
    fail(worker->landing->file, worker->landing->line, "async copy: illegal address %p", info->si_addr);
  if (!worker || !emu_current) return pass_on(signal, info, context);
  fault_address = reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  const Thread& thread = current();
  const auto* at = static_cast<const char*>(info->si_addr);
  if (signal == SIGFPE) fail(thread.file, thread.line, "integer division by zero, or overflow of a division");
  if (thread.stack && at >= thread.stack - PAGE && at < thread.stack)
    fail(thread.file, thread.line, "stack overflow: local arrays of more than %zu KiB", STACK >> 10);
  fail(thread.file, thread.line, "illegal address %p%s", info->si_addr, signal == SIGBUS ? " (bus error)" : "");
}

}  // namespace emulator

extern "C" void emu_fail(const char* file, int line, const char* format, ...) {
  char message[2000];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  emulator::fail(file, line, "%s", message);
}
