"""A CUDA kernel that a user writes in C++, as an op of Tensors."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.autograd import Tensor, no_grad, op
from weft.backends import source
from weft.backends.array import ARRAYS, OnDevice, device_of
from weft.backends.launch import Kernel, launch
from weft.custom import declaration, written
from weft.custom.declaration import C_TYPES, DTYPES, FLOATING

KEPT = 1024  # plans

Function = Callable[..., Any]


class WrittenKernel(Kernel):
    """A kernel whose source is text of a program, or a file outside of kernels/."""

    def __init__(self, name: str, text: str, path: Path, line: int, types: Mapping[str, str]):
        self.text, self.path, self.line, self.types = text, path, line, types
        super().__init__(str(path), name, {f"WEFT_{name}": type_ for name, type_ in types.items()})
        self.parameters = source.signature(self.read(), name, dict(types))

    def read(self, emulated: bool = False) -> source.Source:
        """The text, after Weft's types and the type variables, with the lines that it has where it was written."""
        using = "".join(f"using {name} = WEFT_{name};\n" for name in self.types)
        place = str(self.path).replace("\\", "/").replace('"', "")
        # Each `using` is macro-free: a macro T would break every template <class T>.
        text = f'#include "ptx.cuh"\n{using}#line {self.line} "{place}"\n{self.text}\n'
        if "EXPORT_KERNEL" not in self.text:
            text += f"EXPORT_KERNEL({self.name})\n"
        return source.of_text(text, self.path, emulated=emulated)


class Plan(NamedTuple):
    """How a call with inputs of these shapes and dtypes, and these scalars, runs."""

    kernel: Kernel
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    grid: tuple[int, ...]
    threads: tuple[int, ...]
    options: dict[str, Any]
    """Of the launch: shared, cluster, cooperative."""
    arguments: tuple[tuple[str, Any], ...]
    """In the kernel's order: ("input", i), ("output", i), or ("number", value)."""


class CudaKernel:
    """A kernel in CUDA C++ as an op: compiled when first called, for each dtype and GPU.

    name: of the function, `extern "C" __global__ void NAME(...)`.
    source: its C++ text, or the path of a file. Weft's kernels/ptx.cuh is included before it; it may include others.
    inputs, outputs: name -> "T (N, C)": a dtype (float32, float16, bfloat16, float64, int32, int64, uint8, bool) or a
        type variable, and sizes: names, numbers, or *B for any number of axes. What bears one name has one size.
    scalars: name -> its default (None: it must be given); passed by keyword.
    sizes: name -> a function of the others, for outputs of other sizes than the inputs have.
    types: type variable -> the dtypes it may be; all floating ones otherwise.
    grid, threads, shared: numbers (of blocks, of threads of a block, bytes of dynamic shared memory), tuples of up to
        three for the first two, or functions of sizes and scalars by name.
    cluster: blocks of a cluster, given as a grid is; from sm_90 on. cooperative: all blocks run at once, so that they
        may wait for each other (`grid_sync` of ptx.cuh); more than fit are an error.
    vjp: a function of `g`, the gradient of the output (`g_NAME` for each of several), and of those inputs, outputs and
        scalars that its parameters name -> the gradients of the inputs, None for what has none. It gets Tensors; made
        of ops of Weft, or of other kernels, it has derivatives of its own.
    reference: the same function of inputs and scalars, by name, in ops of Weft: what runs on the CPU, and what `check`
        compares with.
    example: the sizes that `weft bench kernel FILE:NAME` measures with.

    The kernel's parameters are matched by name: arrays, scalars and sizes, a starred size being the product of its
    axes. Arrays come in C order without gaps; outputs hold nothing yet. On the emulated device the kernel runs on a
    CPU, and `check` runs it there with every access checked. ValueError and TypeError name what does not fit;
    `CompileError` shows the lines that do not compile.

    >>> import weft
    >>> double = weft.CudaKernel("double_it", '''
    ...     extern "C" __global__ void double_it(T* y, const T* x, int N) {
    ...       const int i = blockIdx.x * blockDim.x + threadIdx.x;
    ...       if (i < N) y[i] = T(2 * float(x[i]));
    ...     }''', inputs={"x": "T (*N)"}, outputs={"y": "T (*N)"}, grid=lambda N: -(-N // 256), vjp=lambda g: 2 * g)
    >>> double(weft.ones((2,), device="emulated")).numpy()
    array([2., 2.], dtype=float32)
    """

    def __init__(
        self,
        name: str,
        source: str | Path,
        *,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        scalars: Mapping[str, Any] | Sequence[str] = (),
        sizes: Mapping[str, Function] | None = None,
        types: Mapping[str, Sequence[str]] | None = None,
        grid: Any,
        threads: Any = 256,
        shared: Any = 0,
        cluster: Any = 1,
        cooperative: bool = False,
        vjp: Function | None = None,
        reference: Function | None = None,
        example: Mapping[str, int] | None = None,
    ):
        self.name = self.__name__ = name
        what = f"CudaKernel {name}"
        frame = written.caller()
        self.text, self.path, self.line = origin(what, source, frame)
        self.inputs = {key: declaration.declared(words, f"{what}: {key}") for key, words in inputs.items()}
        self.outputs = {key: declaration.declared(words, f"{what}: {key}") for key, words in outputs.items()}
        self.scalars = dict(scalars) if isinstance(scalars, Mapping) else dict.fromkeys(scalars)
        self.sizes = dict(sizes or {})
        self.grid, self.threads, self.shared = grid, threads, shared
        self.cluster, self.cooperative = cluster, cooperative
        self.vjp, self.reference = vjp, reference
        self.example = dict(example or {})
        self.types = self.choices(types or {})
        self.kernels: dict[tuple[str, ...], Kernel] = {}
        self.plans: dict[Any, Plan] = {}
        self.check_declaration(what)

        def body(*arrays: Any, **scalars: Any) -> Any:
            return self.compute(arrays, scalars)

        body.__name__ = body.__qualname__ = name
        body.__module__ = frame.f_globals.get("__name__", "__main__") if frame else "__main__"
        self.op: Any = op(body)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{key}: {words}" for key, words in self.inputs.items())
        return f"<CudaKernel {self.name}({arrays}) of {self.path.name}:{self.line}>"

    # -- what was declared ---------------------------------------------------------------------------------------------

    def choices(self, given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """The dtypes of each type variable; ValueError names a type that is none."""
        found: dict[str, tuple[str, ...]] = {}
        for array in (*self.inputs.values(), *self.outputs.values()):
            if array.type not in DTYPES:
                names = given.get(array.type, FLOATING)
                found[array.type] = tuple(names.split() if isinstance(names, str) else names)
        bad = [n for names in found.values() for n in names if n not in DTYPES] + [n for n in given if n not in found]
        if bad:
            raise ValueError(f"CudaKernel {self.name}: types: expected dtypes of {', '.join(DTYPES)}, got {bad[0]!r}")
        return found

    def check_declaration(self, what: str) -> None:
        """Hold the kernel's parameters against the declaration; ValueError names what is missing or unknown."""
        if not self.inputs or not self.outputs:
            raise ValueError(f"{what}: expected inputs and outputs, got {len(self.inputs)} and {len(self.outputs)}")
        kernel = self.specialised({name: choice[0] for name, choice in self.types.items()})
        sizes = {size.lstrip("*") for array in self.inputs.values() for size in array.sizes} | set(self.sizes)
        known = [*self.inputs, *self.outputs, *self.scalars, *(s for s in sorted(sizes) if not s.isdigit())]
        for parameter in kernel.parameters:
            if parameter.name not in known:
                raise ValueError(f"{what}: expected parameters among {', '.join(known)}, got {parameter.name!r}")
            is_array = parameter.name in self.inputs or parameter.name in self.outputs
            if is_array != (parameter.kind == source.POINTER):
                kind = "a pointer" if is_array else "a number"
                raise ValueError(f"{what}: expected {parameter.name} to be {kind}, got {parameter.type}")
        named = {parameter.name for parameter in kernel.parameters}
        for name in (*self.inputs, *self.outputs, *self.scalars):
            if name not in named:
                raise ValueError(f"{what}: expected the kernel to have a parameter {name}, got {', '.join(named)}")
        for key, array in self.outputs.items():
            unbound = [s for s in array.sizes if not s.isdigit() and s.lstrip("*") not in sizes]
            if unbound or (array.type not in DTYPES and all(array.type != x.type for x in self.inputs.values())):
                raise ValueError(f"{what}: {key}: expected types and sizes that the inputs have, got {array}")

    def specialised(self, types: Mapping[str, str]) -> Kernel:
        """The kernel for these dtypes of its type variables."""
        key = tuple(types.values())
        found = self.kernels.get(key)
        if found is None:
            c_types = {name: C_TYPES[choice] for name, choice in types.items()}
            found = self.kernels[key] = WrittenKernel(self.name, self.text, self.path, self.line, c_types)
        return found

    # -- a call --------------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Any, **scalars: Any) -> Any:
        if len(inputs) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise TypeError(f"{self.name}: expected {len(self.inputs)} arrays ({names}), got {len(inputs)}")
        unknown = [name for name in scalars if name not in self.scalars]
        values = {**self.scalars, **scalars}
        missing = [name for name, value in values.items() if value is None]
        if unknown or missing:
            names = ", ".join(self.scalars) or "none"
            raise TypeError(
                f"{self.name}: expected scalars {names}, got {unknown[0] if unknown else f'no {missing[0]}'}"
            )
        return self.op(*inputs, **values)

    def compute(self, arrays: tuple[Any, ...], scalars: dict[str, Any]) -> Any:
        """The op's body: the outputs and the vjp."""
        for name, x in zip(self.inputs, arrays):
            if not isinstance(x, (Tensor, *ARRAYS)):
                raise TypeError(f"{self.name}: expected {name} to be an array, got {type(x).__name__}")
        if any(isinstance(x, Tensor) for x in arrays):  # a replay: this gradient is to be differentiated in its turn
            out = self.op(*arrays, **scalars)
            outs = out if type(out) is tuple else (out,)
        elif isinstance(arrays[0], OnDevice):
            outs = self.run(arrays, scalars)
        else:
            outs = self.run_reference(arrays, scalars)
        return outs if len(outs) > 1 else outs[0], self.pullback(arrays, outs, scalars)

    def run_reference(self, arrays: tuple[Any, ...], scalars: dict[str, Any]) -> tuple[Any, ...]:
        if self.reference is None:
            raise TypeError(
                f"{self.name}: expected arrays on cuda or emulated, got cpu: move them (x.to_device('emulated')), or "
                "declare the kernel with a reference="
            )
        self.plan_of(arrays, scalars)  # for its checks of shapes and dtypes
        with no_grad():
            values = {**dict(zip(self.inputs, map(Tensor, arrays))), **scalars}
            out = written.call(self.reference, values, f"{self.name}: reference")
        return tuple([x.data for x in (out if isinstance(out, (tuple, list)) else (out,))])

    def run(self, arrays: tuple[Any, ...], scalars: dict[str, Any]) -> tuple[Any, ...]:
        """Launch on the device of the arrays."""
        from weft.backends.gpu.array import contiguous, empty

        plan = self.plan_of(arrays, scalars)
        device = device_of(arrays[0])
        outs = tuple([empty(shape, dtype, device) for shape, dtype in plan.outputs])
        if all([out.size == 0 for out in outs]):
            return outs
        held = [contiguous(x) for x in arrays]
        arguments = []
        for kind, value in plan.arguments:
            arguments.append(value if kind == "number" else held[value] if kind == "input" else outs[value])
        launch(plan.kernel, plan.grid, plan.threads, arguments, **plan.options)
        return outs

    def plan_of(self, arrays: Sequence[Any], scalars: dict[str, Any]) -> Plan:
        key = (*[(x.shape, x.dtype.char) for x in arrays], *scalars.values())
        plan = self.plans.get(key)
        if plan is None:
            if len(self.plans) >= KEPT:
                self.plans.clear()
            plan = self.plans[key] = self.make_plan(arrays, scalars)
        return plan

    def make_plan(self, arrays: Sequence[Any], scalars: dict[str, Any]) -> Plan:
        sizes: dict[str, Any] = {}
        chosen: dict[str, str] = {}
        for (name, array), x in zip(self.inputs.items(), arrays):
            declaration.bind(array, x.shape, sizes, f"{self.name}: {name}")
            allowed = (chosen[array.type],) if array.type in chosen else self.types.get(array.type, (array.type,))
            fits = next((choice for choice in allowed if DTYPES[choice] == x.dtype), None)
            if fits is None:
                raise TypeError(f"{self.name}: {name}: expected {' or '.join(allowed)}, got {x.dtype}")
            if array.type in self.types:
                chosen[array.type] = fits
        for name, function in self.sizes.items():
            sizes[name] = int(self.function(name, function, {**declaration.numbers(sizes), **scalars}))
        known = {**declaration.numbers(sizes), **scalars}
        outputs = tuple(
            [
                (declaration.shape_of(array, sizes), DTYPES[chosen.get(array.type, array.type)])
                for array in self.outputs.values()
            ]
        )
        kernel = self.specialised({name: chosen[name] for name in self.types})
        places = {name: ("input", i) for i, name in enumerate(self.inputs)}
        places |= {name: ("output", i) for i, name in enumerate(self.outputs)}
        arguments = tuple([places.get(p.name) or ("number", known[p.name]) for p in kernel.parameters])
        grid, threads = self.three("grid", self.grid, known), self.three("threads", self.threads, known)
        shared = self.shared if isinstance(self.shared, int) else self.function("shared", self.shared, known)
        if min(grid) < 1 and any(0 not in shape for shape, _ in outputs):
            raise ValueError(f"{self.name}: grid: expected one block at least, got {grid}")
        cluster = self.three("cluster", self.cluster, known)
        if any([blocks % n for blocks, n in zip((*grid, 1, 1), cluster)]):
            raise ValueError(f"{self.name}: cluster: expected sizes that divide the grid {grid}, got {cluster}")
        options = {"shared": int(shared), "cluster": cluster, "cooperative": self.cooperative}
        return Plan(kernel, outputs, grid, threads, options, arguments)

    def function(self, what: str, function: Function, values: Mapping[str, Any]) -> Any:
        return written.call(function, values, f"{self.name}: {what}")

    def three(self, what: str, given: Any, values: Mapping[str, Any]) -> tuple[int, ...]:
        """Up to three sizes of a launch, from a number, a tuple or a function."""
        found = self.function(what, given, values) if callable(given) else given
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if not 1 <= len(found) <= 3 or not all(isinstance(n, (int, np.integer)) for n in found):
            raise ValueError(f"{self.name}: {what}: expected one to three integers, got {found}")
        return tuple(map(int, found))

    # -- the gradient --------------------------------------------------------------------------------------------------

    def pullback(self, arrays: tuple[Any, ...], outs: tuple[Any, ...], scalars: dict[str, Any]) -> Function:
        """The op's vjp; it keeps what the user's names."""
        name, vjp, many = self.name, self.vjp, len(outs) > 1
        gradients = [f"g_{key}" for key in self.outputs] if many else ["g"]
        if vjp is None:

            def refuse(_: Any) -> Any:
                raise RuntimeError(f"{name}: expected a vjp to go backward with, got none (CudaKernel(..., vjp=...))")

            return refuse
        available = {**dict(zip(self.inputs, arrays)), **dict(zip(self.outputs, outs))}
        names = tuple(key for key in written.wanted(vjp) if key in available)
        saved = tuple(available[key] for key in names)
        specs = [(out.shape, out.dtype) for out in outs] if many else None
        count = len(arrays)

        def backward(g: Any) -> Any:
            parts = g if many else (g,)
            raw = not any(isinstance(x, Tensor) for x in (*parts, *saved))
            parts = [g if g is not None else None for g in parts]
            if specs is not None:
                model = next(g for g in parts if g is not None)
                parts = [zeros(spec, model) if g is None else g for g, spec in zip(parts, specs)]
            wrap = lambda x: x if isinstance(x, Tensor) else Tensor(x)
            values = {key: wrap(x) for key, x in (*zip(gradients, parts), *zip(names, saved))}
            if not raw:
                return checked(written.call(vjp, {**values, **scalars}, f"{name}: vjp"))
            with no_grad():
                found = checked(written.call(vjp, {**values, **scalars}, f"{name}: vjp"))
            return tuple([x.data if isinstance(x, Tensor) else x for x in found])

        def checked(found: Any) -> tuple[Any, ...]:
            found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
            if len(found) != count:
                raise ValueError(f"{name}: vjp: expected {count} gradients, one for each input, got {len(found)}")
            return found

        return backward

    def check(self, *inputs: Any, **scalars: Any) -> Any:
        """Run on the emulated device with every access checked, under every schedule: see `weft.custom.checks`."""
        from weft.custom.checks import check

        return check(self, inputs, scalars)


def zeros(spec: tuple[tuple[int, ...], Any], like: Any) -> Any:
    """A gradient for an output that nobody used."""
    from weft.ops import zeros as make

    made = make(spec[0], dtype=spec[1], device=device_of(like.data if isinstance(like, Tensor) else like))
    return made if isinstance(like, Tensor) else made.data


def origin(what: str, text: str | Path, frame: Any) -> tuple[str, Path, int]:
    """(text, file, line of its first line) of a kernel's source. FileNotFoundError and ValueError say what is wrong."""
    if isinstance(text, Path) or (isinstance(text, str) and "\n" not in text and text.endswith((".cu", ".cuh"))):
        path = Path(text)
        if not path.is_absolute() and frame is not None:
            path = Path(frame.f_code.co_filename).resolve().parent / path
        return path.read_text(), path, 1
    name = re.sub(r"\W+", "_", what.rpartition(" ")[2])
    found = written.text_in(frame, text)
    place = (Path(found[0]).resolve(), found[1]) if found else (Path(f"{name}.cu"), 1)
    text = textwrap.dedent(text)
    if not re.search(r'extern\s*"C"', text):
        raise ValueError(f'{what}: expected the kernel to be extern "C", got a source without it')
    return text, *place
