// A driver without a GPU, for tests of what launches kernels: it writes down every call, and fails when it is told to.
//
// Kernels and the sizes of their parameters are read from the cubin that is loaded (.nv.info), or from an image of text:
// "scale:8,4,4;copy:8,8,8". What was called is asked for as JSON, one object per call.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

using CUresult = int;
constexpr CUresult SUCCESS = 0, INVALID_VALUE = 1, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
                   NOT_FOUND = 500;

namespace {

struct Parameter {
  size_t offset, size;
};
using Kernels = std::map<std::string, std::vector<Parameter>>;
struct Function {
  std::string name;
  std::vector<Parameter> parameters;
};

bool recording = true;
long launches = 0;
std::string record, failing;
CUresult failure = SUCCESS;
std::mutex lock;
thread_local std::vector<int> contexts;  // current ones of this thread, innermost last
std::vector<Kernels*> modules;

int devices() {
  const char* text = getenv("STUB_DEVICES");
  return text ? atoi(text) : 2;
}

void note(const std::string& call, const std::string& fields) {
  if (!recording) return;
  const std::lock_guard<std::mutex> guard(lock);
  record +=
      (record.empty() ? "{\"call\":\"" : ",{\"call\":\"") + call + "\"" + (fields.empty() ? "" : ",") + fields + "}";
}

std::string number(const char* name, long long value) {
  return "\"" + std::string(name) + "\":" + std::to_string(value);
}

template <class T>
std::string list(const char* name, const T* values, size_t count) {
  std::string text = "\"" + std::string(name) + "\":[";
  for (size_t i = 0; i < count; i++) text += (i ? "," : "") + std::to_string(values[i]);
  return text + "]";
}

std::string hex(const void* data, size_t bytes) {
  std::string text;
  char two[3];
  for (size_t i = 0; i < bytes; i++) {
    snprintf(two, sizeof two, "%02x", static_cast<const unsigned char*>(data)[i]);
    text += two;
  }
  return text;
}

// The result that a call is told to fail with.
bool fails(const char* call) { return failure != SUCCESS && failing == call; }

template <class T>
T read(const char* data) {
  T value;
  memcpy(&value, data, sizeof value);
  return value;
}

// The kernels of a cubin: sections .nv.info.NAME hold attribute 0x17, (index, ordinal, offset, flags), per parameter.
Kernels elf_kernels(const char* image) {
  Kernels found;
  const char* table = image + read<uint64_t>(image + 0x28);
  const auto entry = read<uint16_t>(image + 0x3a), count = read<uint16_t>(image + 0x3c),
             names = read<uint16_t>(image + 0x3e);
  const char* strings = image + read<uint64_t>(table + names * entry + 0x18);
  const std::string prefix = ".nv.info.";
  for (int i = 0; i < count; i++) {
    const char* section = table + i * entry;
    const std::string name = strings + read<uint32_t>(section);
    if (name.rfind(prefix, 0) != 0) continue;
    auto& parameters = found[name.substr(prefix.size())];
    const char* at = image + read<uint64_t>(section + 0x18);
    const char* end = at + read<uint64_t>(section + 0x20);
    while (at < end) {
      const unsigned char format = at[0], attribute = at[1];
      const auto size = read<uint16_t>(at + 2);
      at += 4;
      if (format != 4) continue;
      if (attribute == 0x17) {
        const auto ordinal = read<uint16_t>(at + 4);
        if (parameters.size() <= ordinal) parameters.resize(ordinal + 1);
        parameters[ordinal] = {read<uint16_t>(at + 6), read<uint32_t>(at + 8) >> 18};
      }
      at += size;
    }
  }
  return found;
}

Kernels text_kernels(std::string text) {
  Kernels found;
  text += ';';
  for (size_t start = 0, end; (end = text.find(';', start)) != std::string::npos; start = end + 1) {
    const std::string one = text.substr(start, end - start) + ",";
    const size_t colon = one.find(':');
    if (colon == std::string::npos) continue;
    auto& parameters = found[one.substr(0, colon)];
    size_t offset = 0;
    for (size_t at = colon + 1, comma; (comma = one.find(',', at)) != std::string::npos && comma > at; at = comma + 1) {
      const size_t size = std::stoul(one.substr(at, comma - at));
      parameters.push_back({offset, size});
      offset += size;
    }
  }
  return found;
}

}  // namespace

extern "C" {

// ---- for the tests
void stub_reset() {
  record.clear(), failing.clear(), failure = SUCCESS, contexts.clear(), launches = 0, recording = true;
}
void stub_fail(const char* call, CUresult result) { failing = call, failure = result; }
void stub_recording(int on) { recording = on; }
long stub_launches() { return launches; }
const char* stub_record() {
  static std::string text;
  return (text = "[" + record + "]").c_str();
}
int stub_depth() { return static_cast<int>(contexts.size()); }

// ---- the driver
CUresult cuInit(unsigned) { return fails("cuInit") ? failure : SUCCESS; }
CUresult cuDriverGetVersion(int* version) { return *version = 13000, SUCCESS; }
CUresult cuGetErrorName(CUresult result, const char** name) {
  *name = result == INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE"
          : result == 2           ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == 701         ? "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"
          : result == 700         ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : result == 218         ? "CUDA_ERROR_INVALID_PTX"
                                  : nullptr;
  return *name ? SUCCESS : INVALID_VALUE;
}
CUresult cuGetErrorString(CUresult result, const char** text) {
  *text = result == INVALID_VALUE ? "invalid argument"
          : result == 2           ? "out of memory"
          : result == 701         ? "too many resources requested for launch"
          : result == 700         ? "an illegal memory access was encountered"
          : result == 218         ? "a PTX JIT compilation failed"
                                  : nullptr;
  return *text ? SUCCESS : INVALID_VALUE;
}
CUresult cuDeviceGetCount(int* count) { return *count = devices(), SUCCESS; }
CUresult cuDeviceGet(int* device, int ordinal) {
  return ordinal < devices() ? (*device = ordinal, SUCCESS) : INVALID_DEVICE;
}
CUresult cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "Stub"), SUCCESS; }
CUresult cuDeviceGetAttribute(int* value, int attribute, int device) {
  const int capability = device == 0 ? 90 : 86;
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : attribute == 16 ? 132 : 0;
  return SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(void** context, int device) {
  if (fails("cuDevicePrimaryCtxRetain")) return failure;
  note("cuDevicePrimaryCtxRetain", number("device", device));
  *context = reinterpret_cast<void*>(static_cast<intptr_t>(device + 1));
  return SUCCESS;
}
CUresult cuCtxGetCurrent(void** context) {
  *context = contexts.empty() ? nullptr : reinterpret_cast<void*>(static_cast<intptr_t>(contexts.back()));
  return SUCCESS;
}
CUresult cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(static_cast<int>(reinterpret_cast<intptr_t>(context)));
  return SUCCESS;
}
CUresult cuCtxPopCurrent_v2(void** context) {
  cuCtxGetCurrent(context);
  if (contexts.empty()) return INVALID_CONTEXT;
  contexts.pop_back();
  return SUCCESS;
}
CUresult cuCtxSynchronize() {
  if (fails("cuCtxSynchronize")) return failure;
  note("cuCtxSynchronize", number("context", contexts.empty() ? 0 : contexts.back()));
  return SUCCESS;
}
CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  return *free = 3u << 30, *total = size_t(8) << 30, contexts.empty() ? INVALID_CONTEXT : SUCCESS;
}

CUresult cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* options, void** values) {
  if (contexts.empty()) return INVALID_CONTEXT;
  if (fails("cuModuleLoadDataEx")) {
    for (unsigned i = 0; i < count; i++) {
      if (options[i] == 5) snprintf(static_cast<char*>(values[i]), 100, "ptxas: line 7: what is this?");
    }
    return failure;
  }
  const char* bytes = static_cast<const char*>(image);
  const bool elf = memcmp(bytes, "\177ELF", 4) == 0;
  auto* found = new Kernels(elf ? elf_kernels(bytes) : text_kernels(bytes));
  if (found->empty()) return INVALID_IMAGE;
  modules.push_back(found);
  note("cuModuleLoadDataEx", number("context", contexts.back()));
  *module = found;
  return SUCCESS;
}
CUresult cuModuleGetFunction(void** function, void* module, const char* name) {
  const auto found = static_cast<Kernels*>(module)->find(name);
  if (found == static_cast<Kernels*>(module)->end()) return NOT_FOUND;
  *function = new Function{found->first, found->second};
  return SUCCESS;
}
CUresult cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
  const auto& parameters = static_cast<Function*>(function)->parameters;
  if (index >= parameters.size()) return INVALID_VALUE;
  *offset = parameters[index].offset, *size = parameters[index].size;
  return SUCCESS;
}
CUresult cuFuncSetAttribute(void* function, int attribute, int value) {
  if (fails("cuFuncSetAttribute")) return failure;
  note("cuFuncSetAttribute", "\"kernel\":\"" + static_cast<Function*>(function)->name + "\"," +
                                 number("attribute", attribute) + "," + number("value", value));
  return SUCCESS;
}

struct Attribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    unsigned values[3];
  };
};
struct Config {
  unsigned grid[3], block[3], shared;
  void* stream;
  Attribute* attributes;
  unsigned count;
};
CUresult cuLaunchKernelEx(const Config* config, void* function, void** parameters, void** extra) {
  launches++;
  if (fails("cuLaunchKernelEx")) return failure;
  if (contexts.empty() || extra) return INVALID_CONTEXT;
  if (!recording) return SUCCESS;
  const auto& kernel = *static_cast<Function*>(function);
  std::string arguments, attributes;
  for (size_t i = 0; i < kernel.parameters.size(); i++) {
    arguments += (i ? ",\"" : "\"") + hex(parameters[i], kernel.parameters[i].size) + "\"";
  }
  for (unsigned i = 0; i < config->count; i++) {
    const Attribute& one = config->attributes[i];
    attributes +=
        (i ? ",\"" : "\"") + std::to_string(one.id) + "\":" + list("", one.values, one.id == 4 ? 3 : 1).substr(3);
  }
  note("cuLaunchKernelEx", "\"kernel\":\"" + kernel.name + "\"," + number("context", contexts.back()) + "," +
                               list("grid", config->grid, 3) + "," + list("block", config->block, 3) + "," +
                               number("shared", config->shared) + "," +
                               number("stream", reinterpret_cast<intptr_t>(config->stream)) + ",\"attributes\":{" +
                               attributes + "},\"arguments\":[" + arguments + "]");
  return SUCCESS;
}

// A map holds its number, so that a launch tells which one it was given.
static CUresult encode(void* map) {
  static uint64_t made = 0;
  if (reinterpret_cast<uintptr_t>(map) % 64) return INVALID_VALUE;
  memset(map, 0x5a, 128);
  made++;
  memcpy(map, &made, sizeof made);
  return SUCCESS;
}
CUresult cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* address, const uint64_t* shape,
                                const uint64_t* strides, const unsigned* box, const unsigned* steps, int interleave,
                                int swizzle, int promotion, int fill) {
  if (fails("cuTensorMapEncodeTiled")) return failure;
  note("cuTensorMapEncodeTiled", number("type", type) + "," + number("address", reinterpret_cast<intptr_t>(address)) +
                                     "," + list("shape", shape, rank) + "," + list("strides", strides, rank - 1) + "," +
                                     list("box", box, rank) + "," + list("steps", steps, rank) + "," +
                                     number("interleave", interleave) + "," + number("swizzle", swizzle) + "," +
                                     number("promotion", promotion) + "," + number("fill", fill));
  return encode(map);
}
CUresult cuTensorMapEncodeIm2col(void* map, int type, unsigned rank, void* address, const uint64_t* shape,
                                 const uint64_t* strides, const int* lower, const int* upper, unsigned channels,
                                 unsigned pixels, const unsigned* steps, int interleave, int swizzle, int promotion,
                                 int fill) {
  if (fails("cuTensorMapEncodeIm2col")) return failure;
  note("cuTensorMapEncodeIm2col",
       number("type", type) + "," + number("address", reinterpret_cast<intptr_t>(address)) + "," +
           list("shape", shape, rank) + "," + list("strides", strides, rank - 1) + "," +
           list("lower", lower, rank - 2) + "," + list("upper", upper, rank - 2) + "," + number("channels", channels) +
           "," + number("pixels", pixels) + "," + list("steps", steps, rank) + "," + number("interleave", interleave) +
           "," + number("swizzle", swizzle) + "," + number("promotion", promotion) + "," + number("fill", fill));
  return encode(map);
}

}  // extern "C"
