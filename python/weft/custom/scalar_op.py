"""A user's scalar function as an op of Tensors."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from weft.autograd import Tensor, op
from weft.backends.array import ARRAYS, OnDevice, namespace, ndarray
from weft.backends.gpu import layout
from weft.backends.gpu.expressions import NAMES, promoted
from weft.custom import derive, evaluate, written
from weft.custom.parse import NotScalar, parse
from weft.custom.scalar import Program

FLOAT32 = np.dtype(np.float32)
POINTS = 12  # that gradients are checked at
#: Where to look for points at which a function and its derivative are finite, after the domain that is given.
DOMAINS = ((-2.0, 2.0), (0.05, 0.95), (1.05, 3.0))

Function = Callable[..., Any]


@functools.lru_cache(maxsize=1)
def loops() -> Any:
    """The extension's `run_loop` where it and Numba are there, else None."""
    from weft.backends import cpu

    if importlib.util.find_spec("numba") is None or not cpu.native:
        return None
    from weft import _cpu

    return getattr(_cpu, "run_loop", None)  # which one built from older sources lacks


class Scalar:
    """A scalar program, and its gradients, over arrays of any device.

    gradients: for each parameter the program of (g, parameters...) -> its gradient; None: they are derived.
    interpreted: always by array functions, never compiled.
    """

    def __init__(self, program: Program, gradients: Sequence[Program] | None, module: str, interpreted: bool = False):
        self.program = program
        self.gradients = gradients
        self.module = module
        self.interpreted = interpreted
        self.parts: dict[int, Any] = {}
        self.compiled: dict[str, dict[int, int]] = {"f": {}, "d": {}}  # addresses of loops, see run_loop
        self.held: list[Any] = []  # what they belong to
        self.run = None if interpreted else loops()

        def body(*arrays: Any) -> Any:
            return self(*arrays), tuple([functools.partial(self.gradient, k, arrays) for k in range(len(arrays))])

        body.__name__ = body.__qualname__ = program.name
        body.__module__ = module
        self.body = body
        self.op = op(body)

    def __call__(self, *operands: Any) -> Any:
        """The program's result for raw arrays and numbers, or recorded for Tensors."""
        for x in operands:
            if type(x) is not ndarray or x.dtype is not FLOAT32:
                break
        else:  # the short way: float32 on the CPU, with its loop at hand
            if self.run is not None:
                try:
                    out = self.run(self.compiled["f"], list(operands))
                except ValueError:  # an unusual layout, or shapes that on_cpu will name
                    out = 0
                if type(out) is not int:
                    return out
        if any([isinstance(x, Tensor) for x in operands]):  # a replay: this gradient is to be differentiated again
            return self.op(*operands)
        device = next((x.device_name for x in operands if isinstance(x, OnDevice)), None)  # type: ignore[attr-defined]
        if device is None:
            return self.on_cpu(operands)
        if not self.interpreted and len(operands) <= len(NAMES):
            from weft.custom import device as linked

            if linked.usable(device.partition(":")[0]):
                return linked.run(self.program, operands)
        return self.by_arrays(operands)

    # -- forward -------------------------------------------------------------------------------------------------------

    def dtype(self, operands: Sequence[Any]) -> np.dtype[Any]:
        """What the arrays promote to; integers become float32."""
        dtype: np.dtype[Any] | None = None
        for x in operands:
            if isinstance(x, ARRAYS):
                dtype = x.dtype if dtype is None else promoted(dtype, x.dtype)
            elif not isinstance(x, (bool, int, float)):
                raise TypeError(f"{self.program.name}: expected arrays and numbers, got {type(x).__name__}")
        if dtype is None:
            raise TypeError(f"{self.program.name}: expected an array at least, got numbers alone")
        return FLOAT32 if dtype.kind in "biu" else dtype

    def on_cpu(self, operands: Sequence[Any]) -> Any:
        dtype, run = self.dtype(operands), self.run
        if run is None:
            return self.by_arrays(operands)
        layout.broadcast(self.program.name, [x.shape for x in operands if isinstance(x, ARRAYS)])
        wide = dtype if dtype.char == "d" else FLOAT32
        arrays = [aligned(np.asarray(x, wide)) for x in operands]
        known = self.compiled[wide.char]
        out = run(known, arrays)
        while type(out) is int:
            from weft.custom import compiled

            made = compiled.loop(self.program, wide, out)
            self.held.append(made)
            known[out] = made.address
            out = run(known, arrays)
        return out if dtype == wide else out.astype(dtype)

    def by_arrays(self, operands: Sequence[Any]) -> Any:
        """One array function after the other; where a loop depends on values, one element after the other."""
        dtype = self.dtype(operands)
        wide = dtype if dtype.char == "d" else FLOAT32
        first = next(x for x in operands if isinstance(x, ARRAYS))
        xp = namespace(first)
        layout.broadcast(self.program.name, [x.shape for x in operands if isinstance(x, ARRAYS)])
        # numbers as the loop and the kernel have them: two integers would be added and divided as such
        arrays = [xp.astype(x, wide, copy=False) if isinstance(x, ARRAYS) else float(x) for x in operands]
        try:
            out = evaluate.evaluate(self.program, arrays)
        except evaluate.Unvectorised as error:
            if type(first) is not ndarray:
                hint = "Numba compiles it (pip install 'weft[numba]')"
                if len(operands) > len(NAMES):
                    hint = f"a device's kernel can do that, of at most {len(NAMES)} operands"
                raise TypeError(f"{self.program.name}: {self.program.file}: {error}; {hint}") from None
            out = evaluate.each(self.program, arrays)
        shape = np.broadcast_shapes(*[x.shape for x in arrays if isinstance(x, ARRAYS)])
        if not isinstance(out, ARRAYS) or out.shape != shape:
            out = xp.zeros_like(xp.broadcast_to(first, shape), dtype=wide) + out
        return out if out.dtype == dtype else xp.astype(out, dtype)

    # -- backward ------------------------------------------------------------------------------------------------------

    def part(self, k: int, arity: int) -> Any:
        """What computes the gradient of operand k: (the Scalar, whether it takes g among its operands)."""
        found = self.parts.get(k)
        if found is None:
            with_g = True
            if self.gradients is not None:
                program = self.gradients[k]
            else:
                with_g = arity < len(NAMES)  # of map.cu's operands, one is g
                make = derive.vjp if with_g else derive.derivative
                program = make(self.program, self.program.parameters[k])
            found = self.parts[k] = Scalar(program, None, self.module, self.interpreted), with_g
        return found

    def gradient(self, k: int, operands: tuple[Any, ...], g: Any) -> Any:
        scalar, with_g = self.part(k, len(operands))
        return scalar(g, *operands) if with_g else g * scalar(*operands)


def aligned(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """x, or a copy of it where its strides are no multiples of an element."""
    itemsize = x.dtype.itemsize
    return x if all([s % itemsize == 0 for s in x.strides]) else np.ascontiguousarray(x)


class Elementwise:
    """A scalar function that works on Tensors, element by element. `weft.elementwise` makes it."""

    def __init__(self, function: Function, gradient: Any, check: bool, domain: tuple[float, float] | None):
        functools.update_wrapper(self, function)
        self.function = function
        program = parse(function)
        given = gradient if gradient is None or isinstance(gradient, (tuple, list)) else (gradient,)
        if given is not None and len(given) != len(program.parameters):
            raise NotScalar(
                f"elementwise: {written.place_of(function)}: expected a gradient for each of "
                f"{', '.join(program.parameters)}, got {len(given)}"
            )
        self.given: tuple[Function, ...] | None = given if given is None else tuple(given)
        self.kinds: dict[tuple[Any, ...], Scalar] = {}
        self.usual: Scalar | None = None  # with the constants' defaults
        if check:
            check_gradient(self, domain)

    def __repr__(self) -> str:
        return f"<elementwise {self.function.__name__} of {written.place_of(self.function)}>"

    def scalar(self, constants: dict[str, Any], interpreted: bool = False) -> Scalar:
        """The function with these values of its keyword-only parameters."""
        key = (interpreted, *sorted(constants.items()))
        found = self.kinds.get(key)
        if found is None:
            program = parse(self.function, constants)
            gradients = None
            if self.given is not None:
                gradients = [parse(f, own_constants(f, constants)) for f in self.given]
                for made in gradients:
                    if len(made.parameters) != len(program.parameters) + 1:
                        names = ", ".join(("g", *program.parameters))
                        raise NotScalar(
                            f"elementwise: {made.name}: {made.file}:{made.line}: expected parameters ({names}), got "
                            f"({', '.join(made.parameters)})"
                        )
            module = getattr(self.function, "__module__", "__main__")
            found = self.kinds[key] = Scalar(program, gradients, module, interpreted)
        return found

    def __call__(self, *inputs: Any, **constants: Any) -> Any:
        scalar = self.scalar(constants) if constants else self.usual
        if scalar is None:
            scalar = self.usual = self.scalar({})
        if len(inputs) != len(scalar.program.parameters):
            names = ", ".join(scalar.program.parameters)
            raise TypeError(f"{self.function.__name__}: expected {names}, got {len(inputs)} arguments")
        return scalar.op(*inputs)


def own_constants(function: Function, constants: dict[str, Any]) -> dict[str, Any]:
    """Those of `constants` that the function has keyword-only parameters for."""
    names = function.__kwdefaults__ or {}
    return {name: value for name, value in constants.items() if name in names}


def check_gradient(function: Elementwise, domain: tuple[float, float] | None) -> None:
    """Hold the gradient against differences, in float64, at points where both are finite; ArithmeticError names the
    function's line, and what differs. Where the derivative is not known, going backward will say so."""
    from weft import testing

    scalar = function.scalar({}, interpreted=True)
    where = f"elementwise: {function.function.__name__}: {written.place_of(function.function)}"
    arity = len(scalar.program.parameters)
    try:
        [scalar.part(k, arity) for k in range(arity)]
    except derive.NoDerivative:
        return
    points = finite_points(scalar, arity, domain)
    if points is None:
        raise NotScalar(f"{where}: expected finite values at some points, got none; say where: domain=(low, high)")
    try:
        testing.gradcheck(scalar.op, points)
    except AssertionError as error:
        raise ArithmeticError(f"{where}: {error}") from None


def finite_points(scalar: Scalar, arity: int, domain: tuple[float, float] | None) -> list[Any] | None:
    rng = np.random.default_rng(0)
    for low, high in DOMAINS if domain is None else (domain,):
        arrays = [rng.uniform(low, high, 200) for _ in range(arity)]
        values = [scalar(*arrays)] + [scalar.gradient(k, tuple(arrays), np.ones(200)) for k in range(arity)]
        finite = np.isfinite(values).all(axis=0)
        if finite.sum() >= POINTS:
            return [x[finite][:POINTS] for x in arrays]
    return None


def elementwise(
    function: Function | None = None, *, gradient: Any = None, check: bool = True,
    domain: tuple[float, float] | None = None,
) -> Any:  # fmt: skip
    """Make a scalar Python function an op of Tensors: compiled by Numba into a loop over all cores, and into a CUDA
    kernel; with its gradient.

    function: of one number or more, which the op takes as arrays or Python numbers that broadcast; 16-bit types are
        computed in float32, integers become float32. Keyword-only parameters are constants: each value that the op is
        called with makes a function of its own. A device's kernel takes eight numbers (one is the g of a gradient that
        is given); a function of more runs there as one array function after the other.
    gradient: a scalar function (g, inputs...) -> the input's gradient, or one for each input; derived if not given.
    check: whether to hold the gradient against differences now. domain: (low, high) of the points for that.

    What the function may do: arithmetic, comparisons, `if`, `for ... in range(...)`, `while`, functions of `math` (or
    NumPy's, Weft's, of the same names), abs, min, max, and other scalar functions. TypeError names the file and line of
    what it may not; ArithmeticError a gradient that is wrong. A derived gradient can be derived again.
    Without Numba the function runs as one array function after the other.

    >>> import math, weft
    >>> weft.elementwise  # as a decorator: @weft.elementwise
    <function elementwise at ...>
    """
    if function is None:
        return lambda f: Elementwise(f, gradient, check, domain)
    return Elementwise(function, gradient, check, domain)
