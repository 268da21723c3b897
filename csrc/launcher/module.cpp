// weft._launcher: loads kernels into GPUs and enqueues them.
#include <memory>
#include <sstream>

#include "arguments.h"
#include "driver.h"

namespace launcher {

namespace {

std::unique_ptr<Driver> driver;
Python* python;  // never freed: its objects would outlive the interpreter
py::object* cuda_error;

// The stream of CuPy's that is current on a device: by its C function where CuPy exports it, else by a callable.
intptr_t (*stream_function)(int device);
py::object* stream_callable;

Driver& the_driver() {
  if (!driver) throw std::runtime_error("driver: expected it to be open, got none");
  return *driver;
}

Stream current_stream(int device) {
  if (stream_function) {
    const intptr_t stream = stream_function(device);
    if (PyErr_Occurred()) throw py::error_already_set();
    return reinterpret_cast<Stream>(stream);
  }
  if (!stream_callable) return nullptr;
  return reinterpret_cast<Stream>((*stream_callable)(device).cast<intptr_t>());
}

void use_streams(py::object source);

void open(const std::string& path, py::object error, py::object tensor_map, py::object generic) {
  if (!python) python = new Python;
  python->tensor_map = std::move(tensor_map);
  python->generic = std::move(generic);
  delete cuda_error;
  cuda_error = new py::object(std::move(error));
  use_streams(py::none());
  driver.reset();
  driver = std::make_unique<Driver>(path);
}

void use_streams(py::object source) {
  stream_function = nullptr;
  delete stream_callable;
  stream_callable = nullptr;
  if (py::isinstance<py::capsule>(source)) {
    stream_function = reinterpret_cast<intptr_t (*)(int)>(PyCapsule_GetPointer(source.ptr(), "intptr_t (int)"));
    if (!stream_function) throw py::error_already_set();
  } else if (!source.is_none()) {
    stream_callable = new py::object(std::move(source));
  }
}

struct Sizes {
  unsigned of[3] = {1, 1, 1};

  unsigned total() const { return of[0] * of[1] * of[2]; }
  std::string text() const { return std::to_string(of[0]) + "x" + std::to_string(of[1]) + "x" + std::to_string(of[2]); }
};

Sizes sizes(const std::string& kernel, const char* what, py::handle given) {
  Sizes found;
  const Py_ssize_t count = PyTuple_Check(given.ptr()) ? PyTuple_GET_SIZE(given.ptr()) : 0;
  bool good = count >= 1 && count <= 3;
  for (Py_ssize_t i = 0; good && i < count; i++) {
    const long value = PyLong_AsLong(PyTuple_GET_ITEM(given.ptr(), i));
    good = value >= 1 && value <= 0x7fffffff;
    found.of[i] = static_cast<unsigned>(value);
  }
  if (!good) {
    PyErr_Clear();
    throw py::value_error("launch: " + kernel + ": expected " + what + " to be one to three positive sizes, got " +
                          std::string(py::repr(given)));
  }
  return found;
}

// A kernel on every device: loaded where it is first launched.
class Kernel {
 public:
  Kernel(std::string name, const py::sequence& parameters, py::object load)
      : name_(std::move(name)), load_(std::move(load)) {
    for (const py::handle row : parameters) {
      const auto fields = row.cast<py::tuple>();
      parameters_.push_back({fields[0].cast<std::string>(),
                             fields[1].cast<std::string>(),
                             fields[2].cast<char>(),
                             fields[3].cast<size_t>(),
                             fields[4].cast<std::string>(),
                             {}});
    }
  }

  void launch(py::handle grid_sizes, py::handle block_sizes, py::handle given, unsigned shared,
              py::handle cluster_sizes, bool cooperative, bool dependent) {
    const Sizes grid = sizes(name_, "grid", grid_sizes), block = sizes(name_, "block", block_sizes);
    const Sizes cluster = sizes(name_, "cluster", cluster_sizes);
    Arguments arguments(*python, name_, parameters_);
    arguments.pack(given.ptr());
    const int device = arguments.device() == Arguments::NOWHERE ? 0 : arguments.device();
    Driver& api = the_driver();
    if (device >= api.device_count()) {
      throw py::value_error("launch: " + name_ + ": expected one of " + std::to_string(api.device_count()) +
                            " devices, got cuda:" + std::to_string(device));
    }
    const auto described = [&] {
      std::ostringstream words;
      words << "launch: " << name_ << " on cuda:" << device << " (grid " << grid.text() << ", block " << block.text()
            << ", " << shared << " bytes of dynamic shared memory";
      if (cluster.total() > 1) words << ", cluster " << cluster.text();
      words << (cooperative ? ", cooperative" : "") << (dependent ? ", dependent" : "") << ")";
      return words.str();
    };
    const Current context(api, api.context(device));
    if (static_cast<size_t>(device) >= loaded_.size()) loaded_.resize(device + 1);
    if (!loaded_[device].function) {
      load(device);
      // Loading ran Python code and told the sizes of structures: look at the arguments again.
      return launch(grid_sizes, block_sizes, given, shared, cluster_sizes, cooperative, dependent);
    }
    Loaded& target = loaded_[device];
    allow(api, target, shared, cluster.total(), described);

    LaunchAttribute attributes[3];
    unsigned count = 0;
    if (cluster.total() > 1) {
      LaunchAttribute& attribute = attributes[count++];
      attribute.id = LaunchAttribute::cluster_dimension;
      for (int i = 0; i < 3; i++) attribute.size[i] = cluster.of[i];
    }
    if (cooperative) attributes[count].id = LaunchAttribute::cooperative, attributes[count++].flag = 1;
    if (dependent) {
      attributes[count].id = LaunchAttribute::programmatic_stream_serialization;
      attributes[count++].flag = 1;
    }
    LaunchConfig config{{grid.of[0], grid.of[1], grid.of[2]},
                        {block.of[0], block.of[1], block.of[2]},
                        shared,
                        current_stream(device),
                        attributes,
                        count};
    const Result result = api.cuLaunchKernelEx(&config, target.function, arguments.pointers(), nullptr);
    if (result != SUCCESS) {
      // Faults of a kernel come to light when something else is asked of the device.
      const bool fault = result >= FIRST_FAULT && result <= LAST_FAULT && result != TOO_MANY_RESOURCES;
      const char* whose = fault ? "; a kernel enqueued before it may be the cause" : "";
      throw DriverError(described() + ": " + api.words(result) + whose);
    }
  }

 private:
  struct Loaded {
    Function function = nullptr;
    unsigned shared = 0;   // what a launch may ask for; at first 48 KiB less what is static
    unsigned cluster = 8;  // the largest cluster that every GPU grants
  };

  // Opts in to as much dynamic shared memory, and to larger clusters than are portable.
  template <class Described>
  static void allow(Driver& api, Loaded& target, unsigned shared, unsigned cluster, const Described& described) {
    if (shared > target.shared) {
      const Result result = api.cuFuncSetAttribute(target.function, MAX_DYNAMIC_SHARED, static_cast<int>(shared));
      if (result != SUCCESS) throw DriverError(described() + ": " + api.words(result));
      target.shared = shared;
    }
    if (cluster > target.cluster) {
      const Result result = api.cuFuncSetAttribute(target.function, NON_PORTABLE_CLUSTER, 1);
      if (result != SUCCESS) throw DriverError(described() + ": " + api.words(result));
      target.cluster = cluster;
    }
  }

  // Asks Python for the code, which compiles it if need be, and loads it into the current context.
  void load(int device) {
    Driver& api = the_driver();
    const auto code = load_(device).cast<std::string>();  // PTX ends with a zero, which std::string provides
    const std::string where = "launch: " + name_ + " on cuda:" + std::to_string(device) + ": ";
    char log[8192] = "";
    int options[] = {JIT_ERROR_LOG, JIT_ERROR_LOG_SIZE};
    void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
    Module module = nullptr;
    const Result result = api.cuModuleLoadDataEx(&module, code.c_str(), 2, options, values);
    if (result != SUCCESS) {
      throw DriverError(where + "cuModuleLoadDataEx: " + api.words(result) + (*log ? "\n" + std::string(log) : ""));
    }
    Loaded loaded;
    api.check(api.cuModuleGetFunction(&loaded.function, module, name_.c_str()), where + "cuModuleGetFunction");
    if (api.cuFuncGetParamInfo) {
      for (size_t i = 0; i < parameters_.size(); i++) {
        size_t offset = 0, size = 0;
        api.check(api.cuFuncGetParamInfo(loaded.function, i, &offset, &size), where + "cuFuncGetParamInfo");
        if (parameters_[i].size == 0) parameters_[i].size = size;
        if (parameters_[i].size != size) {
          throw py::type_error(where + "expected parameter " + std::to_string(i) + " (" + parameters_[i].name +
                               ") to have " + std::to_string(parameters_[i].size) + " bytes, got " +
                               std::to_string(size));
        }
      }
    }
    loaded_[device] = loaded;
  }

  std::string name_;
  std::vector<Parameter> parameters_;
  py::object load_;
  std::vector<Loaded> loaded_;
};

int device_within(int device) {
  if (device < 0 || device >= the_driver().device_count()) {
    throw py::value_error("driver: expected a device below " + std::to_string(the_driver().device_count()) + ", got " +
                          std::to_string(device));
  }
  return device;
}

py::tuple memory(int device) {
  Driver& api = the_driver();
  const Current context(api, api.context(device_within(device)));
  size_t free = 0, total = 0;
  api.check(api.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return py::make_tuple(free, total);
}

void synchronize(int device) {
  Driver& api = the_driver();
  const Current context(api, api.context(device_within(device)));
  const py::gil_scoped_release release;
  api.check(api.cuCtxSynchronize(), "synchronize: cuda:" + std::to_string(device));
}

}  // namespace

PYBIND11_MODULE(_launcher, m) {
  m.doc() = "Loads kernels into GPUs and enqueues them; weft.backends.driver is its front.";
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const DriverError& error) { PyErr_SetString(cuda_error->ptr(), error.what()); }
  });
  m.def("open", &open, py::arg("path"), py::arg("error"), py::arg("tensor_map"), py::arg("generic"));
  m.def("use_streams", &use_streams, py::arg("source"));
  m.def("device_count", [] { return the_driver().device_count(); });
  m.def("capability", [](int device) { return the_driver().capability(device_within(device)); });
  m.def("memory", &memory, py::arg("device"), "(free, total) bytes of a device.");
  m.def("synchronize", &synchronize, py::arg("device"));
  py::class_<Kernel>(m, "Kernel")
      .def(py::init<std::string, py::sequence, py::object>(), py::arg("name"), py::arg("parameters"), py::arg("load"))
      .def("launch", &Kernel::launch);
}

}  // namespace launcher
