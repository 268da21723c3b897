// wgmma: products of a warpgroup, out of shared memory described by descriptors, into registers.
#include "runtime.h"

#include "numbers.h"

namespace emulator {

constexpr int ROWS = 64, DEPTH = 16, MOST_COLUMNS = 256;

namespace {

enum Kind { ISSUE = 1, FENCE, COMMIT, WAIT };

struct Operands {
  float* d;
  const unsigned* a;
  int n, scale_d, transpose_a, transpose_b, type;
  unsigned long long a_descriptor, b_descriptor;
};

// Shared address of element (mn, k) of an operand of 16-bit elements (PTX ISA, "Matrix Descriptor").
unsigned element_address(uint64_t descriptor, int mn, int k, bool mn_major) {
  const unsigned start = unsigned(descriptor & 0x3fff) << 4, leading = unsigned(descriptor >> 16 & 0x3fff) << 4,
                 stride = unsigned(descriptor >> 32 & 0x3fff) << 4;
  const int layout = int(descriptor >> 62), code = layout == 0 ? 0 : 4 - layout, chunks = 1 << code;
  const auto group = unsigned(mn / 8), in_group = unsigned(mn % 8);
  unsigned offset;
  if (!mn_major) {
    offset = group * stride + (layout ? in_group * unsigned(chunks) * 16 + unsigned(k) * 2
                                      : in_group * 16 + unsigned(k / 8) * leading + unsigned(k % 8) * 2);
  } else if (layout) {
    const unsigned chunk = group % unsigned(chunks), column = group / unsigned(chunks);
    offset = in_group * 2 + chunk * 16 + column * leading + unsigned(k % 8) * unsigned(chunks) * 16 + unsigned(k / 8) * stride;
  } else {
    offset = in_group * 2 + group * stride + unsigned(k % 8) * 16 + unsigned(k / 8) * leading;
  }
  const unsigned address = start + offset;
  return address ^ ((address >> 3) & (((1u << code) - 1) << 4));
}

void check_descriptor(uint64_t descriptor, const char* file, int line) {
  if (descriptor >> 49 & 7) FAIL("wgmma: expected a descriptor with base offset 0, got %d", int(descriptor >> 49 & 7));
  const int layout = int(descriptor >> 62);
  const unsigned start = unsigned(descriptor & 0x3fff) << 4, pattern = layout == 1 ? 1024 : layout == 2 ? 512 : 256;
  if (layout && (start & (pattern - 1) & ~127u))
    FAIL("wgmma: expected a descriptor that starts where a swizzle pattern of %u bytes does, got 0x%x", pattern, start);
}

// Reads a 16-deep operand into out[mn * row + k * column].
void read_operand(Block& block, int group, uint64_t descriptor, int count, bool mn_major, int type, float* out, int row,
                  int column, const char* file, int line) {
  check_descriptor(descriptor, file, line);
  for (int k = 0; k < DEPTH; k++) {
    for (int mn = 0; mn < count; mn++) {
      const unsigned address = element_address(descriptor, mn, k, mn_major);
      uint16_t bits;
      memcpy(&bits, shared_pointer(block, address, 2, file, line), 2);
      if (block.checked) {
        for (int warp = group * 4; warp < group * 4 + 4; warp++)
          shared_access(block, address, 2, READ | ASYNC, block, warp, 254, file, line, "wgmma");
      }
      out[mn * row + k * column] = operand(type, bits, 0);
    }
  }
}

// D (64 x n): register 4 j + i of a thread is row 16 warp + g + 8 (i / 2), column 8 j + 2 t + i % 2.
template <class Visit>
void each_result(int thread, int n, Visit visit) {
  const int row = 16 * (thread / 32) + thread % 32 / 4, column = 2 * (thread % 4);
  for (int j = 0; j < n / 8; j++)
    for (int i = 0; i < 4; i++) visit(4 * j + i, row + 8 * (i / 2), 8 * j + column + i % 2);
}

struct Scratch {
  float a[ROWS][DEPTH], b[DEPTH][MOST_COLUMNS], c[ROWS][MOST_COLUMNS];
};

__attribute__((target_clones("avx512f", "default"))) void multiply(Scratch& scratch, int n) {
  for (int row = 0; row < ROWS; row++)
    for (int k = 0; k < DEPTH; k++) {
      const float a = scratch.a[row][k];
      for (int column = 0; column < n; column++) scratch.c[row][column] += a * scratch.b[k][column];
    }
}

void execute(Block& block, const WgmmaOperation& operation, int group, bool kept) {
  static thread_local std::unique_ptr<Scratch> memory = std::make_unique<Scratch>();
  Scratch& scratch = *memory;
  Warpgroup& state = block.warpgroups[size_t(group)];
  if (operation.a_in_registers) {
    for (int thread = 0; thread < WARPGROUP; thread++) {
      const int g = thread % 32 / 4, t = thread % 4;
      for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++)
          scratch.a[16 * (thread / 32) + g + 8 * (i % 2)][2 * t + half + 8 * (i / 2)] =
              operand(operation.type, operation.a[thread][i], half);
    }
  } else {
    read_operand(block, group, operation.a_descriptor, ROWS, operation.transpose_a, operation.type, &scratch.a[0][0],
                 DEPTH, 1, operation.file, operation.line);
  }
  read_operand(block, group, operation.b_descriptor, operation.n, operation.transpose_b, operation.type,
               &scratch.b[0][0], 1, MOST_COLUMNS, operation.file, operation.line);
  const auto accumulators = [&](int thread) {
    float* d = operation.d[thread];
    return kept ? state.kept[{thread, d}].data() : d;
  };
  for (int thread = 0; thread < WARPGROUP; thread++) {
    const float* d = accumulators(thread);
    each_result(thread, operation.n, [&](int i, int row, int column) {
      scratch.c[row][column] = operation.scale_d ? d[i] : 0.0f;
    });
  }
  multiply(scratch, operation.n);
  for (int thread = 0; thread < WARPGROUP; thread++) {
    float* d = accumulators(thread);
    each_result(thread, operation.n, [&](int i, int row, int column) { d[i] = scratch.c[row][column]; });
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
    if (other.a_descriptor != first.a_descriptor || other.b_descriptor != first.b_descriptor || other.scale_d != first.scale_d)
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
    execute(block, operation, group, false);
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
    if (!late()) continue;
    for (const auto& operation : operations) execute(block, operation, group, true);
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
