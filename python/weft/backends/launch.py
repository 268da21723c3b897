"""Kernels and their launch, on a GPU and on the emulated device.

    gemm = kernel("gemm_mma.cu", "gemm_mma", TYPE="bf16", TILE_M=128)
    launch(gemm, (8, 8), (256,), (a, b, c, m, n, k, 1.0), shared=49152)

A kernel is compiled when it is first launched, for the device that the arguments lie on. Its C declaration is read from
the source, and the arguments are checked against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weft.backends import source
from weft.backends.arguments import pack
from weft.backends.capturing import state as capturing
from weft.backends.tensor_maps import TensorMap, tensor_map, tensor_map_im2col
from weft.backends.tracing import state as tracing

if TYPE_CHECKING:
    from weft.backends import compile

__all__ = ["Kernel", "TensorMap", "capability", "kernel", "launch", "tensor_map", "tensor_map_im2col"]

ONE = (1, 1, 1)


class Kernel:
    """A function of a kernel file, specialised by preprocessor definitions. `kernel` makes and keeps it."""

    def __init__(self, file: str, name: str, defines: dict[str, str]):
        self.file = file
        self.name = name
        self.defines = defines
        self.parameters = source.signature(self.read(), name, defines)
        self.emulated: dict[tuple[int, bool], Any] = {}
        self.loaded: Any = None

    def __repr__(self) -> str:
        words = "".join(f" -D{key}={value}" for key, value in self.defines.items())
        return f"<{self.name} of {self.file}{words}>"

    def read(self, emulated: bool = False) -> source.Source:
        """What is compiled; for the emulated device with its headers."""
        return source.read(self.file, emulated=emulated)

    def code(self, capability: int) -> compile.Cubin:
        """The file of the kernel compiled for GPUs of this capability, and what it uses there."""
        from weft.backends import compile

        return compile.cubin(self.read(), self.defines, capability)

    def link(self, library: Any) -> None:
        """Give a library of the emulated device the functions that it lacks: none, where the source is whole."""

    def load(self) -> Any:
        """What launches the kernel on GPUs; each compiles it when it is launched there first."""
        from weft.backends import driver

        driver.follow_streams()

        def code(device: int) -> bytes:
            return self.code(driver.capability(device)).code

        self.loaded = driver.engine().Kernel(self.name, [tuple(p) for p in self.parameters], code)
        return self.loaded

    def enqueue(self, grid: Any, block: Any, arguments: Sequence[Any], *options: Any) -> None:
        """Enqueue on the GPU of the arguments."""
        (self.loaded or self.load()).launch(grid, block, arguments, *options)

    def emulate(
        self, grid: Any, block: Any, arguments: Sequence[Any], shared: int, cluster: Any, cooperative: bool,
        dependent: bool,
    ) -> None:  # fmt: skip
        """Run on the emulated device, as it is configured."""
        from weft.backends import compile, emulator

        config = emulator.config
        target = (config.arch, config.checked)
        function = self.emulated.get(target)
        if function is None:
            text = self.read(emulated=True)
            library = compile.emulated(text, self.defines, arch=config.arch, checked=config.checked)
            self.link(library)
            try:
                function = getattr(library, f"emu_invoke_{self.name}")
            except AttributeError:
                what = f"{self.name} in {self.file} for capability {config.arch}"
                raise LookupError(f"launch: expected {what}, got a file without it") from None
            self.emulated[target] = function
        pointers = pack(self.name, self.parameters, arguments, "emulated")
        emulator.run(
            function, self.name, grid, block, pointers,
            shared=shared, cluster=cluster, cooperative=cooperative, dependent=dependent,
        )  # fmt: skip


KERNELS: dict[Any, Kernel] = {}


def kernel(file: str, name: str, **defines: Any) -> Kernel:
    """The kernel `name` of kernels/`file`, compiled with `defines` (True is 1, False is 0); the same object each time.

    FileNotFoundError and LookupError name what there is.
    """
    key = (file, name, *defines.items())
    found = KERNELS.get(key)
    if found is None:
        found = KERNELS[key] = Kernel(file, name, source.definitions(defines))
    return found


#: The way to the device that arrays of a type lie on.
ROUTES: dict[type, Any] = {}


def route(name: str, arguments: Sequence[Any]) -> Any:
    """How a kernel reaches the device of the first argument that has one."""
    for argument in arguments:
        where = getattr(argument, "device_name", None)
        if where is not None:
            way = Kernel.emulate if where == "emulated" else Kernel.enqueue
            if type(argument) is not TensorMap:  # which may be of any device
                ROUTES[type(argument)] = way
            return way
    raise TypeError(f"launch: {name}: expected an array or a tensor map among the arguments, got none")


def launch(
    kernel: Kernel,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    arguments: Sequence[Any],
    *,
    shared: int = 0,
    cluster: tuple[int, ...] = ONE,
    cooperative: bool = False,
    dependent: bool = False,
) -> None:
    """Enqueue a kernel on the current stream of the device of its arguments, which are checked.

    grid, block, cluster: up to three sizes. arguments: device arrays (or None, a null pointer), numbers, tensor maps,
    and structures by value as bytes, ctypes or NumPy structures. shared: bytes of dynamic shared memory. cooperative:
    all blocks run at once. dependent: may start before the kernel before it ends (griddepcontrol).
    TypeError and ValueError name an argument that does not fit; RuntimeError is what the device says.
    """
    way = ROUTES.get(type(arguments[0])) if arguments else None
    if way is None:
        way = route(kernel.name, arguments)
    options = shared, cluster, cooperative, dependent
    if capturing.recorder is None or capturing.recorder.launched(kernel, grid, block, arguments, *options):
        if tracing.tracer is None:
            way(kernel, grid, block, arguments, *options)
        else:
            tracing.tracer.launch(way, kernel, grid, block, arguments, *options)


def capability(array: Any) -> int:
    """The compute capability of the device of `array`: 90 for an H100; the emulated device has the one it is given."""
    where = array.device_name
    if where == "emulated":
        from weft.backends import emulator

        return int(emulator.config.arch)
    from weft.backends import driver

    return driver.capability(int(where.removeprefix("cuda:")))
