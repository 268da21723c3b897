// A launch: checks of its dimensions, the blocks of a grid handed out to workers, and the workers themselves, kept
// between launches.
#include "runtime.h"

#include <algorithm>
#include <condition_variable>
#include <csetjmp>
#include <ctime>
#include <link.h>
#include <numeric>
#include <pthread.h>
#include <sys/mman.h>
#include <thread>

#include "errors.h"

namespace emulator {

GridState grid;

// ---- blocks

Block::Block() {
  // Aligned to its size, so that swizzles of an offset and of an address agree.
  char* mapped = static_cast<char*>(
      mmap(nullptr, 2 * ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  arena = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(mapped) + ARENA - 1) / ARENA * ARENA);
  munmap(mapped, size_t(arena - mapped));
  munmap(arena + ARENA, size_t(mapped + ARENA - arena));
}

Block::~Block() { munmap(arena, ARENA); }

static unsigned round_up(unsigned x, unsigned to) { return (x + to - 1) / to * to; }

// What stays the same from one block of a launch to the next.
static void number_threads(Block& block) {
  const dim3 size = block.size;
  if (block.shape.x == size.x && block.shape.y == size.y && block.shape.z == size.z) return;
  block.shape = size;
  if (block.threads.size() < size_t(block.thread_count)) block.threads.resize(size_t(block.thread_count));
  for (int i = 0; i < block.thread_count; i++) {
    Thread& thread = block.threads[size_t(i)];
    const unsigned linear = unsigned(i);
    thread.index = {linear % size.x, linear / size.x % size.y, linear / size.x / size.y};
    thread.block = &block;
    thread.linear = uint16_t(i), thread.warp = uint8_t(i / WARP), thread.lane = uint8_t(i % WARP);
  }
}

static void begin(Block& block, Worker& on, uint3 index, Cluster* cluster, unsigned rank) {
  const Launch& launch = *grid.launch;
  block.worker = &on;
  block.cluster_home = cluster;
  block.index = index;
  block.size = dim3(launch.block[0], launch.block[1], launch.block[2]);
  block.grid = dim3(launch.grid[0], launch.grid[1], launch.grid[2]);
  block.cluster = dim3(launch.cluster[0], launch.cluster[1], launch.cluster[2]);
  block.cluster_rank = rank, block.cluster_blocks = grid.unit_blocks;
  block.thread_count = block.alive = int(launch.block[0] * launch.block[1] * launch.block[2]);
  block.exited = false, block.checked = launch.checked != 0;
  block.serial = grid.next_serial++;
  block.static_bytes = grid.module.static_shared;
  block.static_shared = block.arena + RESERVED_SHARED;
  block.dynamic_offset = round_up(RESERVED_SHARED + block.static_bytes, 1024);
  block.dynamic_bytes = launch.dynamic_shared;
  memset(block.static_shared, 0xff, block.shared_end() - RESERVED_SHARED);

  for (Barrier& barrier : block.barriers) {
    barrier.waiting.clear();
    barrier.arrived = barrier.expected = 0;
    barrier.file = nullptr;
    if (block.checked) barrier.clock.reset();
  }
  const int warps = (block.thread_count + WARP - 1) / WARP;
  for (int warp = 0; warp < warps; warp++) {
    auto& operations = block.warp_operations[warp];
    if (operations.empty()) operations.resize(WARP);
    for (WarpOperation& operation : operations) operation.arrived = 0;
  }
  block.warpgroups.resize(size_t(block.thread_count + WARPGROUP - 1) / WARPGROUP);
  for (Warpgroup& group : block.warpgroups) {
    group.arrived = 0, group.fenced = false;
    group.current.clear(), group.groups.clear(), group.kept.clear();
  }
  block.mbarrier_waiting.clear(), block.unfenced.clear();
  if (block.checked) start_checks(block);

  number_threads(block);
  block.begun = 0;
  on.starting.push_back(&block);
}

static void call_helpers();

void Worker::start_unit(unsigned unit) {
  const Launch& launch = *grid.launch;
  if (schedule() == Schedule::reverse) unit = grid.units - 1 - unit;
  if (schedule() == Schedule::random) unit = grid.order[unit];
  random_state = unsigned(launch.seed) * 7919u + unit;
  Cluster* cluster = nullptr;
  if (grid.unit_blocks > 1) {
    clusters.push_back(std::make_unique<Cluster>());
    cluster = clusters.back().get();
    cluster->alive = int(grid.unit_blocks * launch.block[0] * launch.block[1] * launch.block[2]);
  }
  const unsigned across = launch.grid[0] / launch.cluster[0], down = launch.grid[1] / launch.cluster[1];
  const unsigned cx = unit % across, cy = unit / across % down, cz = unit / across / down;
  for (unsigned rank = 0; rank < grid.unit_blocks; rank++) {
    const unsigned x = rank % launch.cluster[0], y = rank / launch.cluster[0] % launch.cluster[1],
                   z = rank / launch.cluster[0] / launch.cluster[1];
    if (spare.empty()) spare.push_back(std::make_unique<Block>());
    resident.push_back(std::move(spare.back()));
    spare.pop_back();
    Block& block = *resident.back();
    if (cluster) cluster->blocks.push_back(&block);
    begin(block, *this, {cx * launch.cluster[0] + x, cy * launch.cluster[1] + y, cz * launch.cluster[2] + z}, cluster,
          rank);
  }
  call_helpers();
}

// Takes back the stacks of threads that will not end.
void Worker::abandon() {
  for (auto& block : resident) {
    for (Thread& thread : block->threads) {
      if (thread.stack) stacks.push_back(thread.stack);
      thread.stack = nullptr;
      thread.copies.clear();
      thread.stores.clear(), thread.store_groups.clear();
      thread.transfers = false;
    }
    grid.resident--;
    spare.push_back(std::move(block));
  }
  resident.clear(), clusters.clear(), polling.clear(), loads.clear(), ready.clear(), starting.clear();
}

void Worker::run_launch() {
  worker = this;
  policy = schedule();
  idle_rounds = 0;
  running.store(true, std::memory_order_release);
  constexpr size_t SIGNAL_STACK = 256 << 10;
  if (!signal_stack) {
    signal_stack = static_cast<char*>(
        mmap(nullptr, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  stack_t stack{}, earlier_stack{};
  stack.ss_sp = signal_stack, stack.ss_size = SIGNAL_STACK;
  sigaltstack(&stack, &earlier_stack);
  sigjmp_buf buffer;
  escape = &buffer;
  if (sigsetjmp(buffer, 0) == 0) {
    Thread* first = pick();
    if (first) {
      prepare(*first, take_stack(*this));
      emu_current = first;
      emu_switch(&main_stack_pointer, first->stack_pointer);
    }
  }
  emu_current = nullptr;
  sigaltstack(&earlier_stack, nullptr);
  if (!resident.empty()) abandon();
  running.store(false, std::memory_order_release);
}

// ---- workers: the thread that launches, and helpers that sleep between launches

namespace {

struct Pool {
  std::mutex launching;  // one launch at a time
  std::mutex lock;
  std::condition_variable called, done;
  std::vector<std::unique_ptr<Worker>> workers;
  unsigned generation = 0;
  int helpers = 0;  // that the launch under way may still take
  bool open = false;
  long called_after = 0;
};

Pool* pool = new Pool;  // never destroyed: helpers sleep in it when the process ends

constexpr long HELP_AFTER = 30000;  // nanoseconds: waking a thread costs as much

long now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

void help(Pool& of, Worker& on) {
  unsigned seen = 0;
  std::unique_lock<std::mutex> guard(of.lock);
  for (;;) {
    of.called.wait(guard, [&] { return of.generation != seen; });
    seen = of.generation;
    if (!of.open || of.helpers == 0) continue;
    of.helpers--;
    grid.active++;
    guard.unlock();
    on.run_launch();
    guard.lock();
    grid.active--;
    of.done.notify_all();
  }
}

Worker& worker_of(Pool& of, size_t i) {
  while (of.workers.size() <= i) {
    of.workers.push_back(std::make_unique<Worker>());
    if (of.workers.size() == 1) continue;  // the launching thread's own
    Worker& on = *of.workers.back();
    std::thread([&of, &on] { help(of, on); }).detach();
  }
  return *of.workers[i];
}

void after_fork() { pool = new Pool; }  // helpers do not live on in a child

}  // namespace

// Called by a worker at the start of a block: helpers are woken only for launches that last.
static void call_helpers() {
  Pool& of = *pool;
  if (!of.called_after || worker != of.workers[0].get()) return;
  if (grid.next_unit.load(std::memory_order_relaxed) >= grid.units || now() < of.called_after) return;
  of.called_after = 0;
  {
    std::lock_guard<std::mutex> guard(of.lock);
    of.open = true;
    of.generation++;
  }
  of.called.notify_all();
}

// ---- the library of a kernel

static int find_module(dl_phdr_info* info, size_t, void* out) {
  auto& found = *static_cast<std::pair<uintptr_t, Module>*>(out);
  Module module;
  module.begin = ~uintptr_t(0);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type == PT_TLS) module.static_shared = unsigned(segment.p_memsz);
    if (segment.p_type != PT_LOAD) continue;
    module.begin = std::min<uintptr_t>(module.begin, info->dlpi_addr + segment.p_vaddr);
    module.end = std::max<uintptr_t>(module.end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
  }
  if (found.first < module.begin || found.first >= module.end) return 0;
  module.path = info->dlpi_name;
  found.second = module;
  return 1;
}

static const Module& module_of(const void* function) {
  static std::unordered_map<const void*, Module> known;
  const auto place = known.find(function);
  if (place != known.end()) return place->second;
  std::pair<uintptr_t, Module> found(reinterpret_cast<uintptr_t>(function), Module());
  dl_iterate_phdr(find_module, &found);
  return known[function] = found.second;
}

// ---- signals are ours during a launch

static struct sigaction earlier[3];
static const int caught[3] = {SIGSEGV, SIGBUS, SIGFPE};

void pass_on(int signal, siginfo_t*, void*) {
  for (int i = 0; i < 3; i++)
    if (caught[i] == signal) sigaction(signal, &earlier[i], nullptr);
  // The instruction that failed runs again, into the earlier handler.
}

static void catch_signals() {
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int i = 0; i < 3; i++) sigaction(caught[i], &action, &earlier[i]);
}

static void restore_signals() {
  for (int i = 0; i < 3; i++) sigaction(caught[i], &earlier[i], nullptr);
}

// ---- the launch itself

static const char* broken_rule(const Launch& launch, char* message, size_t room) {
  const unsigned threads = launch.block[0] * launch.block[1] * launch.block[2];
  const unsigned shared = grid.module.static_shared + launch.dynamic_shared;
  if (!launch.grid[0] || !launch.grid[1] || !launch.grid[2] || launch.grid[1] > 65535 || launch.grid[2] > 65535) {
    snprintf(message, room, "expected a grid from 1 to (2^31 - 1, 65535, 65535), got (%u, %u, %u)", launch.grid[0],
             launch.grid[1], launch.grid[2]);
    return message;
  }
  if (!threads || threads > MAX_THREADS || launch.block[2] > 64) {
    snprintf(message, room, "expected a block of 1 to 1024 threads, got (%u, %u, %u)", launch.block[0], launch.block[1],
             launch.block[2]);
    return message;
  }
  if (shared > unsigned(launch.shared_limit) || shared > MAX_SHARED || grid.module.static_shared > 48 << 10) {
    snprintf(message, room, "expected at most %d bytes of shared memory, got %u static and %u dynamic",
             std::min(launch.shared_limit, int(MAX_SHARED)), grid.module.static_shared, launch.dynamic_shared);
    return message;
  }
  const unsigned* c = launch.cluster;
  if (!c[0] || !c[1] || !c[2] || c[0] * c[1] * c[2] > 16 || launch.grid[0] % c[0] || launch.grid[1] % c[1] ||
      launch.grid[2] % c[2]) {
    snprintf(message, room, "expected a cluster of at most 16 blocks that divides the grid, got (%u, %u, %u)", c[0],
             c[1], c[2]);
    return message;
  }
  const unsigned long blocks = (unsigned long)(launch.grid[0]) * launch.grid[1] * launch.grid[2];
  if (launch.cooperative && blocks > unsigned(launch.resident_blocks)) {
    snprintf(message, room, "cooperative launch: expected at most the %d blocks that can be resident, got %lu",
             launch.resident_blocks, blocks);
    return message;
  }
  return nullptr;
}

static void start_grid(const Launch& launch) {
  grid.launch = &launch;
  grid.unit_blocks = launch.cluster[0] * launch.cluster[1] * launch.cluster[2];
  grid.units = launch.grid[0] * launch.grid[1] * launch.grid[2] / grid.unit_blocks;
  grid.next_unit = 0, grid.resident = 0, grid.active = 1;
  grid.failed = false, grid.grid_arrived = 0, grid.blocks_done = 0;
  grid.error.clear();
  grid.checks.published.clear();
  grid.checks.indices.clear();
  const uint32_t before = grid.checks.generation;
  static uint32_t launches = 0;
  grid.checks.generation = ++launches;
  grid.checks.previous = launch.dependent ? before : 0;
  grid.checks.grid_barrier.reset();
  if (launch.schedule == int(Schedule::random)) {
    grid.order.resize(grid.units);
    std::iota(grid.order.begin(), grid.order.end(), 0u);
    std::mt19937 random(unsigned(launch.seed) + 1);
    std::shuffle(grid.order.begin(), grid.order.end(), random);
  }
}

}  // namespace emulator

using namespace emulator;

// Runs a kernel to its end. Returns 0; or 1, with a report in `error`.
extern "C" int emu_launch(const Launch* launch, char* error, size_t room) {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, after_fork); });
  Pool& of = *pool;
  std::lock_guard<std::mutex> one(of.launching);
  grid.module = module_of(reinterpret_cast<const void*>(launch->invoke));
  char message[300];
  if (const char* rule = broken_rule(*launch, message, sizeof message)) {
    // An empty thread and file, line 0, no library and no calls.
    snprintf(error, room, "\x1f\x1f%d\x1f\x1f\x1f%s", 0, rule);
    return 1;
  }
  start_grid(*launch);
  const int helpers = launch->checked ? 0 : std::min(launch->workers - 1, int(std::min(grid.units - 1, 255u)));
  grid.crew.clear();
  worker_of(of, size_t(std::max(helpers, 0)));
  for (const auto& each : of.workers) grid.crew.push_back(each.get());
  of.called_after = helpers > 0 ? now() + HELP_AFTER : 0;
  {
    std::lock_guard<std::mutex> guard(of.lock);
    of.helpers = std::max(helpers, 0);
  }
  catch_signals();
  of.workers[0]->run_launch();
  {
    std::unique_lock<std::mutex> guard(of.lock);
    of.open = false;
    of.done.wait(guard, [] { return grid.active.load() == 1; });
  }
  restore_signals();
  worker = nullptr;
  if (!grid.failed) return 0;
  snprintf(error, room, "%s", grid.error.c_str());
  return 1;
}
