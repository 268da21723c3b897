// The CUDA driver, found when it is first needed: nothing here is linked against it, and no header of CUDA is read.
// The declarations follow the driver's API reference; tests compare their layout with cuda.h where that is installed.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace launcher {

using Result = int;  // CUresult
constexpr Result SUCCESS = 0, FIRST_FAULT = 700, TOO_MANY_RESOURCES = 701, LAST_FAULT = 720;
using Device = int;
using Context = struct CUctx_st*;
using Module = struct CUmod_st*;
using Function = struct CUfunc_st*;
using Stream = struct CUstream_st*;

// CUdevice_attribute, CUfunction_attribute, CUjit_option
constexpr int CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76;
constexpr int MAX_DYNAMIC_SHARED = 8, NON_PORTABLE_CLUSTER = 14;
constexpr int JIT_ERROR_LOG = 5, JIT_ERROR_LOG_SIZE = 6;

struct LaunchAttribute {  // CUlaunchAttribute
  enum Id : int { cooperative = 2, cluster_dimension = 4, programmatic_stream_serialization = 6 };
  Id id;
  char padding[4];
  union {
    char bytes[64];
    int flag;
    unsigned size[3];
  };
};

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid[3], block[3], shared;
  Stream stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

// What the driver said, in words; Python sees weft.backends.driver.CudaError.
struct DriverError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Driver {
 public:
  // Loads the library and initialises it. std::runtime_error says what is missing; it may be called again.
  explicit Driver(const std::string& path);
  Driver(const Driver&) = delete;

  int device_count() const { return static_cast<int>(devices_.size()); }
  int capability(int device) const;
  // The primary context of a device, which the runtime API, and so CuPy, uses too.
  Context context(int device);
  // "CUDA_ERROR_INVALID_VALUE: invalid argument"
  std::string words(Result result) const;
  // Throws DriverError, "what: words", unless the call succeeded.
  void check(Result result, const std::string& what) const;

  Result (*cuInit)(unsigned flags);
  Result (*cuGetErrorName)(Result, const char** name);
  Result (*cuGetErrorString)(Result, const char** text);
  Result (*cuDriverGetVersion)(int* version);
  Result (*cuDeviceGetCount)(int* count);
  Result (*cuDeviceGet)(Device*, int ordinal);
  Result (*cuDeviceGetName)(char* name, int length, Device);
  Result (*cuDeviceGetAttribute)(int* value, int attribute, Device);
  Result (*cuDevicePrimaryCtxRetain)(Context*, Device);
  Result (*cuCtxGetCurrent)(Context*);
  Result (*cuCtxPushCurrent)(Context);
  Result (*cuCtxPopCurrent)(Context*);
  Result (*cuCtxSynchronize)();
  Result (*cuMemGetInfo)(size_t* free, size_t* total);
  Result (*cuModuleLoadDataEx)(Module*, const void* image, unsigned count, int* options, void** values);
  Result (*cuModuleGetFunction)(Function*, Module, const char* name);
  Result (*cuFuncSetAttribute)(Function, int attribute, int value);
  Result (*cuLaunchKernelEx)(const LaunchConfig*, Function, void** parameters, void** extra);
  // since CUDA 12.4; else null
  Result (*cuFuncGetParamInfo)(Function, size_t index, size_t* offset, size_t* size);

 private:
  struct OneDevice {
    Device handle = 0;
    Context primary = nullptr;
  };
  std::vector<OneDevice> devices_;
};

// Makes a context current for as long as it lives, if it is not.
class Current {
 public:
  Current(Driver& driver, Context wanted) : driver_(driver) {
    Context now = nullptr;
    driver.check(driver.cuCtxGetCurrent(&now), "cuCtxGetCurrent");
    if (now != wanted) {
      driver.check(driver.cuCtxPushCurrent(wanted), "cuCtxPushCurrent");
      pushed_ = true;
    }
  }
  ~Current() {
    Context old;
    if (pushed_) driver_.cuCtxPopCurrent(&old);
  }
  Current(const Current&) = delete;

 private:
  Driver& driver_;
  bool pushed_ = false;
};

}  // namespace launcher
