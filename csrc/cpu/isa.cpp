#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace weft {
namespace {

Isa choose() {
  std::vector<Isa> have = supported_isas();
  const char* wanted = std::getenv("WEFT_ISA");
  if (!wanted || !*wanted) return have.front();
  std::string names;
  for (Isa i : have) {
    if (isa_name(i) == std::string(wanted)) return i;
    names += (names.empty() ? "" : ", ") + std::string(isa_name(i));
  }
  throw std::invalid_argument("WEFT_ISA: expected one this processor has (" + names + "), got " + wanted);
}

}  // namespace

std::vector<Isa> supported_isas() {
  std::vector<Isa> have;
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
            __builtin_cpu_supports("bmi2");
  bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl");
  if (v4) have.push_back(Isa::v4);
  if (v3) have.push_back(Isa::v3);
#endif
  have.push_back(Isa::v1);
  return have;
}

const char* isa_name(Isa which) { return which == Isa::v4 ? "v4" : which == Isa::v3 ? "v3" : "v1"; }

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

}  // namespace weft
