// wgmma: products of a warpgroup, out of shared memory described by descriptors, into registers.
#include "runtime.h"

#include "layouts.h"
#include "numbers.h"

namespace emulator {

constexpr int ROWS = 64, MOST_DEPTH = 16, MOST_COLUMNS = 256;

namespace {

enum Kind { ISSUE = 1, FENCE, COMMIT, WAIT };

struct Operands {
  float* d;
  const unsigned* a;
  int n, scale_d, transpose_a, transpose_b, type;
  unsigned long long a_descriptor, b_descriptor;
};

constexpr int depth(int type) { return type == TF32 ? 8 : 16; }

// The first element may be moved along K within a line of the swizzle's pattern, and by whole patterns.
void check_descriptor(const layouts::Operand& operand, const char* file, int line) {
  if (operand.base_offset) FAIL("wgmma: expected a descriptor with base offset 0, got %d", operand.base_offset);
  const unsigned pattern = 128u << operand.swizzle_bits;
  if (operand.swizzle_bits && (operand.start & (pattern - 1) & ~127u))
    FAIL("wgmma: expected a descriptor that starts where a swizzle pattern of %u bytes does, got 0x%x", pattern,
         operand.start);
}

// Reads a (count, depth) operand into out[mn * row + k * column], by chunks of 16 bytes, which lie together.
void read_operand(Block& block, int group, uint64_t descriptor, int count, bool mn_major, int type, float* out, int row,
                  int column, const char* file, int line) {
  const layouts::Operand described = layouts::decode(descriptor);
  check_descriptor(described, file, line);
  const int bytes = type == TF32 ? 4 : 2, chunk = 16 / bytes;
  const int mn_step = mn_major ? chunk : 1, k_step = mn_major ? 1 : chunk;
  for (int mn = 0; mn < count; mn += mn_step) {
    for (int k = 0; k < depth(type); k += k_step) {
      const unsigned address = layouts::address_of(described, mn, k, mn_major, bytes);
      const char* at = shared_pointer(block, address, 16, file, line);
      if (block.checked) {
        for (int warp = group * 4; warp < group * 4 + 4; warp++)
          shared_access(block, address, 16, READ | ASYNC, block, warp, 254, file, line, "wgmma");
      }
      unsigned words[4];
      memcpy(words, at, 16);
      float* to = out + mn * row + k * column;
      for (int i = 0; i < chunk; i++) {
        const unsigned word = words[i * bytes / 4];
        to[i * (mn_major ? row : column)] = operand(type, word, bytes == 2 ? i & 1 : 0);
      }
    }
  }
}

// The place of each of a thread's n / 2 accumulators: four for every eight columns.
template <class Visit>
void each_sum(int thread, int n, Visit visit) {
  const int first_row = 16 * (thread / WARP);
  for (int i = 0; i < 4; i++) {
    const layouts::Place place = layouts::sums(thread % WARP, i);
    for (int j = 0; j < n / 8; j++) visit(4 * j + i, first_row + place.row, place.column + 8 * j);
  }
}

struct Scratch {
  float a[ROWS][MOST_DEPTH], b[MOST_DEPTH][MOST_COLUMNS], c[ROWS][MOST_COLUMNS];
};

// Sums in the order of k, in float. The hardware's order and the width of its sums are nowhere said.
__attribute__((target_clones("avx512f", "default"))) void multiply(Scratch& scratch, int n, int k_end) {
  for (int row = 0; row < ROWS; row++)
    for (int k = 0; k < k_end; k++) {
      const float a = scratch.a[row][k];
      for (int column = 0; column < n; column++) scratch.c[row][column] += a * scratch.b[k][column];
    }
}

void read_registers(Scratch& scratch, const WgmmaOperation& operation) {
  for (int thread = 0; thread < WARPGROUP; thread++) {
    const int lane = thread % WARP, first_row = 16 * (thread / WARP);
    for (int i = 0; i < 4; i++) {
      for (int half = 0; half < (operation.type == TF32 ? 1 : 2); half++) {
        const layouts::Place place =
            operation.type == TF32 ? layouts::a_tf32(lane, i) : layouts::a_16_bits(lane, i, half);
        scratch.a[first_row + place.row][place.column] = operand(operation.type, operation.a[thread][i], half);
      }
    }
  }
}

Scratch& scratch_of_this_thread() {
  static thread_local std::unique_ptr<Scratch> memory = std::make_unique<Scratch>();
  return *memory;
}

void read_operands(Block& block, const WgmmaOperation& operation, int group, Scratch& scratch) {
  if (operation.a_in_registers) {
    read_registers(scratch, operation);
  } else {
    read_operand(block, group, operation.a_descriptor, ROWS, operation.transpose_a, operation.type, &scratch.a[0][0],
                 MOST_DEPTH, 1, operation.file, operation.line);
  }
  read_operand(block, group, operation.b_descriptor, operation.n, operation.transpose_b, operation.type,
               &scratch.b[0][0], 1, MOST_COLUMNS, operation.file, operation.line);
}

void read_a(Scratch& scratch, Block& block, const WgmmaOperation& operation, int group) {
  if (operation.a_in_registers) return read_registers(scratch, operation);
  read_operand(block, group, operation.a_descriptor, ROWS, operation.transpose_a, operation.type, &scratch.a[0][0],
               MOST_DEPTH, 1, operation.file, operation.line);
}

// Products one after the other into the same accumulators.
// kept: these are in the runtime's keeping, because their owner sees them poisoned.
void execute(Block& block, const WgmmaOperation* first, const WgmmaOperation* end, int group, bool kept) {
  static thread_local std::unique_ptr<Scratch> memory = std::make_unique<Scratch>();
  Scratch& scratch = *memory;
  Warpgroup& state = block.warpgroups[size_t(group)];
  const int n = first->n;
  float* sums[WARPGROUP];
  for (int thread = 0; thread < WARPGROUP; thread++) {
    float* d = first->d[thread];
    sums[thread] = kept ? state.kept[{thread, d}].data() : d;
    each_sum(thread, n, [&](int i, int row, int column) { scratch.c[row][column] = sums[thread][i]; });
  }
  for (const WgmmaOperation* operation = first; operation < end; operation++) {
    read_a(scratch, block, *operation, group);
    read_operand(block, group, operation->b_descriptor, n, operation->transpose_b, operation->type, &scratch.b[0][0], 1,
                 MOST_COLUMNS, operation->file, operation->line);
    if (!operation->scale_d) memset(scratch.c, 0, sizeof scratch.c);
    multiply(scratch, n, depth(operation->type));
  }
  for (int thread = 0; thread < WARPGROUP; thread++)
    each_sum(thread, n, [&](int i, int row, int column) { sums[thread][i] = scratch.c[row][column]; });
}

// All products of a group; those that follow each other into the same accumulators go together.
void execute_all(Block& block, const std::vector<WgmmaOperation>& operations, int group) {
  const WgmmaOperation *first = operations.data(), *last = first + operations.size();
  while (first < last) {
    const WgmmaOperation* end = first + 1;
    while (end < last && end->n == first->n && !memcmp(end->d, first->d, sizeof first->d)) end++;
    execute(block, first, end, group, true);
    first = end;
  }
}

// The last of the 128 threads to arrive works for all.
void collective(int kind, void* argument, const char* file, int line, void (*run)(Block&, Warpgroup&, int)) {
  Thread& thread = current();
  Block& block = thread.home();
  const int group = thread.warp / 4;
  if ((group + 1) * WARPGROUP > block.thread_count) FAIL("wgmma: expected a full warpgroup of 128 threads");
  Warpgroup& state = block.warpgroups[size_t(group)];
  if (state.arrived && (state.kind != kind || state.line != line))
    FAIL("divergent warpgroup instruction: other threads wait at %s:%d", base_name(state.file), state.line);
  state.kind = kind, state.file = file, state.line = line;
  state.arguments[thread.linear % WARPGROUP] = argument;
  if (++state.arrived < WARPGROUP) return wait(State::warpgroup, file, line);
  state.arrived = 0;
  run(block, state, group);
  for (int i = group * WARPGROUP; i < (group + 1) * WARPGROUP; i++)
    if (i != thread.linear) wake(&block.threads[size_t(i)]);
}

void issue(Block& block, Warpgroup& state, int group) {
  const char* file = state.file;
  const int line = state.line;
  const auto& first = *static_cast<Operands*>(state.arguments[0]);
  if (!state.fenced) FAIL("wgmma without wgmma_fence since the latest wait");
  WgmmaOperation operation{};
  operation.n = first.n, operation.scale_d = first.scale_d, operation.type = first.type;
  operation.transpose_a = first.transpose_a, operation.transpose_b = first.transpose_b;
  operation.a_in_registers = first.a != nullptr;
  operation.a_descriptor = first.a_descriptor, operation.b_descriptor = first.b_descriptor;
  operation.file = file, operation.line = line;
  for (int thread = 0; thread < WARPGROUP; thread++) {
    const auto& other = *static_cast<Operands*>(state.arguments[thread]);
    if (other.a_descriptor != first.a_descriptor || other.b_descriptor != first.b_descriptor ||
        other.scale_d != first.scale_d)
      FAIL("wgmma: descriptors differ between the threads of the warpgroup");
    operation.d[thread] = other.d;
    if (operation.a_in_registers) memcpy(operation.a[thread], other.a, sizeof operation.a[thread]);
  }
  if (late()) {
    for (int thread = 0; thread < WARPGROUP; thread++) {
      float* d = operation.d[thread];
      auto& kept = state.kept[{thread, d}];
      if (kept.empty()) kept.assign(d, d + operation.n / 2);
      memset(d, 0xff, size_t(operation.n) * 2);
    }
  } else {
    execute(block, &operation, &operation + 1, group, false);
  }
  state.current.push_back(operation);
}

// Accumulators that no later product still works on come back to their owners.
void give_back(Warpgroup& state, const WgmmaOperation& operation) {
  for (const auto& group : state.groups)
    for (const auto& later : group)
      if (later.d[0] == operation.d[0]) return;
  for (int thread = 0; thread < WARPGROUP; thread++) {
    const auto kept = state.kept.find({thread, operation.d[thread]});
    if (kept == state.kept.end()) continue;
    memcpy(operation.d[thread], kept->second.data(), size_t(operation.n) * 2);
    state.kept.erase(kept);
  }
}

void finish(Block& block, Warpgroup& state, int group) {
  const int groups_left = *static_cast<int*>(state.arguments[0]);
  while (int(state.groups.size()) > groups_left) {
    const std::vector<WgmmaOperation> operations = std::move(state.groups.front());
    state.groups.pop_front();
    if (!late()) {  // done at once, but the operands must have stayed until now
      if (block.checked)
        for (const auto& operation : operations) read_operands(block, operation, group, scratch_of_this_thread());
      continue;
    }
    execute_all(block, operations, group);
    for (const auto& operation : operations) give_back(state, operation);
  }
  state.fenced = groups_left > 0 && state.fenced;
}

}  // namespace
}  // namespace emulator

using namespace emulator;

extern "C" void emu_wgmma(int n, float* d, const unsigned* a, unsigned long long a_descriptor,
                          unsigned long long b_descriptor, int scale_d, int transpose_a, int transpose_b, int type,
                          const char* file, int line) {
  Operands operands{d, a, n, scale_d, transpose_a, transpose_b, type, a_descriptor, b_descriptor};
  collective(ISSUE, &operands, file, line, issue);
}

extern "C" void emu_wgmma_fence(const char* file, int line) {
  collective(FENCE, nullptr, file, line, [](Block&, Warpgroup& state, int) { state.fenced = true; });
}

extern "C" void emu_wgmma_commit(const char* file, int line) {
  collective(COMMIT, nullptr, file, line, [](Block&, Warpgroup& state, int) {
    state.groups.push_back(std::move(state.current));
    state.current.clear();
  });
}

extern "C" void emu_wgmma_wait(int groups_left, const char* file, int line) {
  collective(WAIT, &groups_left, file, line, finish);
}
