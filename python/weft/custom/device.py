"""A user's scalar function on devices: linked to map.cu, as LTO-IR by nvJitLink on a GPU, as a pointer to compiled code
on the emulated device.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache, partial
from typing import Any

import numpy as np

from weft.backends import cache, compile, link, nvrtc, source
from weft.backends.gpu import maps
from weft.backends.gpu.expressions import COMPUTE, FLOAT32, NAMES
from weft.backends.launch import Kernel
from weft.custom.scalar import Program

C_NAMES = {"f": "float", "d": "double"}


def name_of(program: Program) -> str:
    """A name for what the program computes: equal programs share one, and the kernels made with it."""
    return f"user_{cache.key(repr(program.body), repr(program.result), *program.parameters)[:20]}"


@lru_cache(maxsize=4)
def usable(device: str) -> bool:
    """Whether functions can be compiled for this device: "emulated" needs Numba, a GPU numba-cuda and nvJitLink."""
    if importlib.util.find_spec("numba") is None:
        return False
    if device == "emulated":
        return True
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    try:
        link.library()
    except ImportError:
        return False
    return True


class LinkedKernel(Kernel):
    """map.cu with a function of the user's in its expression."""

    def __init__(self, program: Program, char: str, file: str, name: str, defines: dict[str, str]):
        self.program, self.char = program, char
        self.symbol = f"{name_of(program)}_{char}"
        self.held: Any = None  # what compiled the pointer's code, which lives as long
        super().__init__(file, name, defines)

    def read(self, emulated: bool = False) -> source.Source:
        """The kernel's text after the function's declaration: on the emulated device a pointer that `link` sets."""
        whole = source.read(self.file, emulated=emulated)
        number = C_NAMES[self.char]
        parameters = ", ".join([number] * len(self.program.parameters))
        pointer = f"{number} (*{self.symbol})({parameters}) = nullptr;"
        declared = pointer if emulated else f"__device__ {number} {self.symbol}({parameters});"
        text = f'extern "C" {{ {declared} }}\n#line 1 "{self.file}"\n{whole.text}'
        return whole._replace(text=text, written=True)

    def link(self, library: Any) -> None:
        from weft.custom import compiled

        if self.held is None:
            self.held = compiled.function(self.program, self.char)
        ctypes.c_void_p.in_dll(library, self.symbol).value = self.held.address

    def code(self, capability: int) -> compile.Cubin:
        """Kernel and function as LTO-IR, linked into a cubin in which the one is part of the other."""
        target = nvrtc.target(capability)
        text = self.read()
        options = [*compile.options_of(self.defines, target), "-dlto"]
        key = cache.key("linked", *text.texts(), *options, repr(self.program), nvrtc.version(), versions())

        def build() -> tuple[bytes, dict[str, Any]]:
            from weft.custom.compiled_cuda import lto_ir

            try:
                kernel = nvrtc.compile(text, options).code
            except nvrtc.NvrtcError as error:
                raise compile.failed(f"{self.file} for {target}", str(error)) from None
            function = lto_ir(self.program, self.char, self.symbol, capability)
            made = link.link([(self.file, kernel), (self.symbol, function)], target)
            return made.code, {"file": self.file, "target": target, "log": made.log, "resources": made.resources}

        entry = cache.get(f"{key}.cubin", build)
        uses = {name: nvrtc.Resources(*numbers) for name, numbers in entry.record["resources"].items()}
        return compile.Cubin(entry.code, entry.record["target"], entry.record["log"], uses)


@lru_cache(maxsize=1)
def versions() -> str:
    """What decides the code of a function, beside its program."""
    from importlib import metadata

    return f"numba-cuda {metadata.version('numba-cuda')}"


KERNELS: dict[Any, LinkedKernel] = {}


def make(program: Program, char: str, file: str, name: str, **defines: Any) -> LinkedKernel:
    key = (name_of(program), char, *defines.items())
    found = KERNELS.get(key)
    if found is None:
        found = KERNELS[key] = LinkedKernel(program, char, file, name, source.definitions(defines))
    return found


def typed(program: Program, dtype: np.dtype[Any]) -> maps.Typed:
    """What map.cu computes with for operands of this dtype."""
    dtype = FLOAT32 if dtype.kind in "biu" else dtype
    char = "d" if dtype.char == "d" else "f"
    arity = len(program.parameters)
    text = f"{name_of(program)}_{char}({', '.join(NAMES[:arity])})"
    seen = (COMPUTE[dtype.char],) * arity
    return maps.Typed(text, seen, dtype, C_NAMES[char], make=partial(make, program, char))


def run(program: Program, operands: tuple[Any, ...]) -> Any:
    """The program over device arrays and numbers, which broadcast; as many as map.cu takes."""
    name = name_of(program)
    if name not in maps.LINKED:
        maps.LINKED[name] = partial(typed, program)
    try:
        return maps.apply(name, *operands)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace(name, program.name)) from None
