#include "driver.h"

#include <dlfcn.h>

namespace launcher {

namespace {

template <class F>
void find(void* library, const char* name, F*& function, bool required = true) {
  function = reinterpret_cast<F*>(dlsym(library, name));
  if (!function && required) {
    throw std::runtime_error(std::string("driver: expected one that has ") + name + ", got an older one: update it");
  }
}

}  // namespace

Driver::Driver(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error("driver: expected NVIDIA's driver, got " + std::string(dlerror()));
  find(library, "cuInit", cuInit);
  find(library, "cuGetErrorName", cuGetErrorName);
  find(library, "cuGetErrorString", cuGetErrorString);
  find(library, "cuDriverGetVersion", cuDriverGetVersion);
  find(library, "cuDeviceGetCount", cuDeviceGetCount);
  find(library, "cuDeviceGet", cuDeviceGet);
  find(library, "cuDeviceGetName", cuDeviceGetName);
  find(library, "cuDeviceGetAttribute", cuDeviceGetAttribute);
  find(library, "cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain);
  find(library, "cuCtxGetCurrent", cuCtxGetCurrent);
  find(library, "cuCtxPushCurrent_v2", cuCtxPushCurrent);
  find(library, "cuCtxPopCurrent_v2", cuCtxPopCurrent);
  find(library, "cuCtxSynchronize", cuCtxSynchronize);
  find(library, "cuMemGetInfo_v2", cuMemGetInfo);
  find(library, "cuModuleLoadDataEx", cuModuleLoadDataEx);
  find(library, "cuModuleGetFunction", cuModuleGetFunction);
  find(library, "cuFuncSetAttribute", cuFuncSetAttribute);
  find(library, "cuLaunchKernelEx", cuLaunchKernelEx);
  find(library, "cuFuncGetParamInfo", cuFuncGetParamInfo, false);
  check(cuInit(0), "cuInit");
  int count = 0;
  check(cuDeviceGetCount(&count), "cuDeviceGetCount");
  devices_.resize(count);
  for (int i = 0; i < count; i++) check(cuDeviceGet(&devices_[i].handle, i), "cuDeviceGet");
}

int Driver::capability(int device) const {
  int major = 0, minor = 0;
  const Device handle = devices_.at(device).handle;
  check(cuDeviceGetAttribute(&major, CAPABILITY_MAJOR, handle), "cuDeviceGetAttribute");
  check(cuDeviceGetAttribute(&minor, CAPABILITY_MINOR, handle), "cuDeviceGetAttribute");
  return 10 * major + minor;
}

Context Driver::context(int device) {
  OneDevice& one = devices_.at(device);
  if (!one.primary) check(cuDevicePrimaryCtxRetain(&one.primary, one.handle), "cuDevicePrimaryCtxRetain");
  return one.primary;
}

std::string Driver::words(Result result) const {
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  return (name ? name : "CUresult " + std::to_string(result)) + (text ? std::string(": ") + text : "");
}

void Driver::check(Result result, const std::string& what) const {
  if (result != SUCCESS) throw DriverError(what + ": " + words(result));
}

}  // namespace launcher
