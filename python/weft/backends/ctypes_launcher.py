"""What weft._launcher does, through ctypes: slower, for installations that had no C++ compiler."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from weft.backends.arguments import pack
from weft.backends.source import Parameter

MAJOR, MINOR = 75, 76  # CUdevice_attribute
MAX_DYNAMIC_SHARED, NON_PORTABLE_CLUSTER = 8, 14  # CUfunction_attribute
COOPERATIVE, CLUSTER, DEPENDENT = 2, 4, 6  # CUlaunchAttributeID
JIT_ERROR_LOG, JIT_ERROR_LOG_SIZE = 5, 6
LOG_BYTES = 8192
PORTABLE_CLUSTER = 8
FAULTS, TOO_MANY_RESOURCES = range(700, 721), 701


class Attribute(ctypes.Structure):
    """CUlaunchAttribute"""

    _fields_ = [("id", ctypes.c_int), ("padding", ctypes.c_char * 4), ("value", ctypes.c_uint * 16)]


class Config(ctypes.Structure):
    """CUlaunchConfig"""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("count", ctypes.c_uint),
    ]


class Driver:
    """The loaded library, its devices and their primary contexts."""

    def __init__(self, path: str, error: type[Exception]):
        try:
            self.library = ctypes.CDLL(path)
        except OSError as failure:
            raise RuntimeError(f"driver: expected NVIDIA's driver, got {failure}") from None
        self.error = error
        self.contexts: dict[int, ctypes.c_void_p] = {}
        self("cuInit", 0)
        count = ctypes.c_int()
        self("cuDeviceGetCount", ctypes.byref(count))
        self.count = count.value

    def __call__(self, name: str, *arguments: Any, what: str = "") -> None:
        function = getattr(self.library, name, None)
        if function is None:
            raise RuntimeError(f"driver: expected one that has {name}, got an older one: update it")
        result = function(*arguments)
        if result:
            raise self.error(f"{what or name.removesuffix('_v2')}: {self.words(result)}")

    def words(self, result: int) -> str:
        parts = []
        for name in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            getattr(self.library, name)(result, ctypes.byref(text))
            if text.value:
                parts.append(text.value.decode())
        return ": ".join(parts) or f"CUresult {result}"

    def handle(self, device: int) -> ctypes.c_int:
        if not 0 <= device < self.count:
            raise ValueError(f"driver: expected a device below {self.count}, got {device}")
        found = ctypes.c_int()
        self("cuDeviceGet", ctypes.byref(found), device)
        return found

    def context(self, device: int) -> ctypes.c_void_p:
        if device not in self.contexts:
            made = ctypes.c_void_p()
            self("cuDevicePrimaryCtxRetain", ctypes.byref(made), self.handle(device))
            self.contexts[device] = made
        return self.contexts[device]

    @contextlib.contextmanager
    def current(self, device: int) -> Iterator[None]:
        """Makes the context of a device current for a while, if it is not."""
        wanted, now = self.context(device), ctypes.c_void_p()
        self("cuCtxGetCurrent", ctypes.byref(now))
        if now.value == wanted.value:
            yield
            return
        self("cuCtxPushCurrent_v2", wanted)
        try:
            yield
        finally:
            self("cuCtxPopCurrent_v2", ctypes.byref(now))


DRIVER: Driver | None = None
stream_of: Callable[[int], int] | None = None


def the_driver() -> Driver:
    if DRIVER is None:
        raise RuntimeError("driver: expected it to be open, got none")
    return DRIVER


def open(path: str, error: type[Exception], tensor_map: type, generic: type) -> None:
    global DRIVER
    use_streams(None)
    DRIVER = Driver(path, error)


def use_streams(source: Any) -> None:
    global stream_of
    if source is not None and not callable(source):  # a capsule of CuPy's, which needs its own way to be called
        address = ctypes.pythonapi.PyCapsule_GetPointer
        address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        source = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int)(address(source, b"intptr_t (int)"))
    stream_of = source


def device_count() -> int:
    return the_driver().count


def capability(device: int) -> int:
    driver, numbers = the_driver(), []
    handle = driver.handle(device)
    for attribute in (MAJOR, MINOR):
        value = ctypes.c_int()
        driver("cuDeviceGetAttribute", ctypes.byref(value), attribute, handle)
        numbers.append(value.value)
    return 10 * numbers[0] + numbers[1]


def memory(device: int) -> tuple[int, int]:
    """(free, total) bytes of a device."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    driver = the_driver()
    driver.handle(device)
    with driver.current(device):
        driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def synchronize(device: int) -> None:
    driver = the_driver()
    driver.handle(device)
    with driver.current(device):
        driver("cuCtxSynchronize", what=f"synchronize: cuda:{device}")


def sizes(kernel: str, what: str, given: Any) -> tuple[int, int, int]:
    good = isinstance(given, tuple) and 1 <= len(given) <= 3
    if not good or not all(isinstance(n, int) and 1 <= n < 1 << 31 for n in given):
        raise ValueError(f"launch: {kernel}: expected {what} to be one to three positive sizes, got {given!r}")
    return (*given, *(1,) * (3 - len(given)))  # type: ignore[return-value]


class Loaded:
    """A kernel in one device, and what it has been allowed so far."""

    def __init__(self, function: ctypes.c_void_p):
        self.function = function
        self.shared = 0
        self.cluster = PORTABLE_CLUSTER


class Kernel:
    """A kernel on every device: loaded where it is first launched."""

    def __init__(self, name: str, parameters: Sequence[tuple[Any, ...]], load: Callable[[int], bytes]):
        self.name = name
        self.parameters = [Parameter(*row) for row in parameters]
        self.load = load
        self.loaded: dict[int, Loaded] = {}

    def launch(
        self, grid: Any, block: Any, arguments: Any, shared: int, cluster: Any, cooperative: bool, dependent: bool
    ) -> None:
        grid, block = sizes(self.name, "grid", grid), sizes(self.name, "block", block)
        cluster = sizes(self.name, "cluster", cluster)
        driver = the_driver()
        where = next((d for d in (getattr(a, "device_name", None) for a in arguments) if d is not None), "cuda:0")
        pointers = pack(self.name, self.parameters, arguments, where)
        device = int(where.removeprefix("cuda:"))
        if device >= driver.count:
            raise ValueError(f"launch: {self.name}: expected one of {driver.count} devices, got cuda:{device}")
        of_cluster = f", cluster {text(cluster)}" if cluster != (1, 1, 1) else ""
        described = (
            f"launch: {self.name} on cuda:{device} (grid {text(grid)}, block {text(block)}, {shared} bytes of dynamic "
            f"shared memory{of_cluster}{', cooperative' * cooperative}{', dependent' * dependent})"
        )
        with driver.current(device):
            target = self.loaded.get(device)
            if target is None:
                target = self.put(driver, device)
                pointers = pack(self.name, self.parameters, arguments, where)  # now with the sizes of structures
            blocks = cluster[0] * cluster[1] * cluster[2]
            if shared > target.shared:
                driver("cuFuncSetAttribute", target.function, MAX_DYNAMIC_SHARED, shared, what=described)
                target.shared = shared
            if blocks > target.cluster:
                driver("cuFuncSetAttribute", target.function, NON_PORTABLE_CLUSTER, 1, what=described)
                target.cluster = blocks
            wanted = [(CLUSTER, cluster)] * (blocks > 1)
            wanted += [(COOPERATIVE, (1,))] * cooperative + [(DEPENDENT, (1,))] * dependent
            attributes = (Attribute * 3)()
            for attribute, (kind, values) in zip(attributes, wanted):
                attribute.id = kind
                attribute.value[: len(values)] = values
            three = ctypes.c_uint * 3
            stream = stream_of(device) if stream_of is not None else 0
            config = Config(three(*grid), three(*block), shared, stream, attributes, len(wanted))
            result = driver.library.cuLaunchKernelEx(ctypes.byref(config), target.function, pointers, None)
            if result:
                # Faults of a kernel come to light when something else is asked of the device.
                fault = result in FAULTS and result != TOO_MANY_RESOURCES
                whose = "; a kernel enqueued before it may be the cause" if fault else ""
                raise driver.error(f"{described}: {driver.words(result)}{whose}")

    def put(self, driver: Driver, device: int) -> Loaded:
        """Load the kernel into the current context."""
        what = f"launch: {self.name} on cuda:{device}: "
        code, log = self.load(device), ctypes.create_string_buffer(LOG_BYTES)
        options = (ctypes.c_int * 2)(JIT_ERROR_LOG, JIT_ERROR_LOG_SIZE)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), LOG_BYTES)
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        try:
            driver("cuModuleLoadDataEx", ctypes.byref(module), code, 2, options, values,
                   what=f"{what}cuModuleLoadDataEx")  # fmt: skip
        except driver.error as error:
            said = log.value.decode(errors="replace")
            raise driver.error(f"{error}\n{said}" if said else str(error)) from None
        driver("cuModuleGetFunction", ctypes.byref(function), module, self.name.encode(),
               what=f"{what}cuModuleGetFunction")  # fmt: skip
        self.measure(driver, function, what)
        self.loaded[device] = Loaded(function)
        return self.loaded[device]

    def measure(self, driver: Driver, function: ctypes.c_void_p, what: str) -> None:
        """Compare the sizes of parameters with the compiled kernel's; those of structures are first known by it."""
        if not hasattr(driver.library, "cuFuncGetParamInfo"):  # before CUDA 12.4
            return
        for i, parameter in enumerate(self.parameters):
            offset, size = ctypes.c_size_t(), ctypes.c_size_t()
            driver("cuFuncGetParamInfo", function, ctypes.c_size_t(i), ctypes.byref(offset), ctypes.byref(size),
                   what=f"{what}cuFuncGetParamInfo")  # fmt: skip
            if parameter.size not in (0, size.value):
                wanted = f"parameter {i} ({parameter.name}) to have {parameter.size} bytes"
                raise TypeError(f"{what}expected {wanted}, got {size.value}")
            self.parameters[i] = parameter._replace(size=size.value)


def text(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
