"""The tape: Tensors, recorded ops, and gradients of any order.

An op is one pure function over arrays that returns its result and its vjp. In the forward pass it gets raw arrays; what
its vjp captures is all that a recorded call keeps. When a gradient is itself to be differentiated, the same body runs
again on Tensors, where `namespace` is `weft` itself, so the vjp it returns is made of recorded ops: fast first-order
rules need no second-order twin.

A Node holds its parents (Nodes, leaves, constants) but never the data of a recorded value. Replay recomputes what the
forward pass let go, once, from the leaves.
"""

from __future__ import annotations

import functools
import re
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, overload

import numpy as np

from weft.backends import writes
from weft.backends.array import ARRAYS, OnDevice, device_of, ndarray
from weft.backends.capturing import state as capturing
from weft.backends.device import check_device, check_together, default_device, on_host, place
from weft.backends.tracing import state as tracing

NO_NUMBERS = "OUSMm"  # kinds of dtypes: objects, text and times


P = ParamSpec("P")


class State(threading.local):
    """Whether ops record, what casts their inputs (`weft.autocast`), what backward does, and who writes ops down, per
    thread."""

    recording = True
    casting: Any = None
    freeing = False  # backward lets go of what it passes: a vjp that runs now may use up what it saved
    exporting: Any = None  # called with (body, arrays, params, results) after each op that is not recorded
    spare: Any = None  # the gradient that is handed to a vjp now, where nothing else holds it: it may be written over


state = State()
observers: list[
    Callable[[Callable[..., Any], tuple[Any, ...], Any], None]
] = []  # called with (body, arrays, out) after each op
gradient_observers: list[Callable[[Any, int, Any], None]] = []  # called with (node, input, its gradient) in backward
bodies: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()  # of every op, so that tests can demand cases


def op_name(body: Any) -> str:
    """What errors and Tensors call the op of a body."""
    return str(body.title or body.__name__)


class Edge(tuple[Any, int]):
    """(Node, output index) of a recorded value."""

    __slots__ = ()


class Node:
    """One recorded call; `parents[i]` is an Edge, a leaf Tensor, or a constant.

    `specs[i]` is (shape, dtype) of input i, which its gradient must take. `born` is the write clock at the call.
    """

    __slots__ = ("__weakref__", "body", "born", "hooks", "outs", "params", "parents", "specs", "vjp")

    def __init__(self, body: Any, inputs: Any, arrays: Any, params: Any, vjp: Any):
        self.body = body
        self.params = params
        self.vjp = vjp
        self.born = writes.clock.now
        self.hooks: dict[int, list[Any]] | None = None
        self.outs: list[Any] = []
        parents: list[Any] = []
        specs: list[Any] = []
        for x, a in zip(inputs, arrays):
            if isinstance(x, Tensor) and x.requires_grad:
                specs.append((a.shape, a.dtype))
                parents.append(x if x.node is None else Edge((x.node, x.index)))
            else:
                specs.append(None)
                parents.append(x)
        self.parents = parents
        self.specs = specs

    @property
    def name(self) -> str:
        return op_name(self.body)


if TYPE_CHECKING:  # methods.py gives the class its operators and methods, interop its protocols
    from weft.tensor_methods import TensorMethods
else:
    TensorMethods = object


class Tensor(TensorMethods):
    """An array that records what is done to it while `requires_grad` is true for it or for what it came from.

    data: a raw array (or what `numpy.asarray` takes, Python floats becoming float32).

    >>> import weft
    >>> x = weft.Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_hooks", "data", "grad", "index", "node", "requires_grad")
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __init__(self, data: Any, requires_grad: bool = False, node: Node | None = None, index: int = 0):
        if type(data) is not ndarray or (node is None and data.dtype.kind in NO_NUMBERS):
            data = to_array(data)
        self.data = data
        self.requires_grad = requires_grad
        self.node = node
        self.index = index
        self.grad: Tensor | None = None

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return self.data.ndim  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self.data.size  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        return self.data.nbytes  # type: ignore[no-any-return]

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    @property
    def device(self) -> str:
        """Where the values live: "cpu", "cuda:N" or "emulated"."""
        return device_of(self.data)

    def __repr__(self) -> str:
        body = np.array2string(on_host(self.data), separator=", ", prefix="Tensor(", threshold=200)
        dtype = "" if self.data.dtype == np.float32 else f", dtype={self.data.dtype}"
        dtype += "" if type(self.data) is ndarray else f", device={self.device!r}"
        origin = f", from={self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({body}{dtype}{origin})"

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len: expected at least one axis, got a 0-d Tensor")
        return int(self.data.shape[0])

    # -- leaving the tape ------------------------------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array, read-only because the tape may have saved them; `.copy()` it to write.

        On the CPU they are this Tensor's memory; from a device they are copied.
        """
        view = on_host(self.data).view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The one value as a Python number; ValueError unless the Tensor has exactly one."""
        if self.data.size != 1:
            raise ValueError(f"item: expected a Tensor of one value, got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.data.tolist()

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor(self.data)

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """This Tensor on "cpu", "cuda", "cuda:N" or "emulated": itself if it is there already, else a recorded copy."""
        device = check_device(device)
        if device == self.device:
            return self
        if self.requires_grad and state.recording:
            return moved(plain(self), device=device)  # type: ignore[no-any-return]
        return Tensor(place(self.data, device))

    # -- going backward --------------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradient of this Tensor to `.grad` of every leaf that requires one.

        gradient: same shape as this; may be left out for a Tensor of one value.  RuntimeError if nothing was recorded,
        or the graph was freed by an earlier backward (keep it with `retain_graph=True`).
        """
        if self.node is None and not self.requires_grad:
            raise RuntimeError("backward: expected a recorded Tensor, got one that no op with requires_grad made")
        accumulate(*propagate([self], [gradient], create_graph, retain_graph or create_graph, ()))

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when this Tensor's gradient is known; its answer replaces it. Returns a remover."""
        if self.node is not None:
            if self.node.hooks is None:
                self.node.hooks = {}
            hooks = self.node.hooks.setdefault(self.index, [])
        else:
            hooks = self._hooks = getattr(self, "_hooks", [])
        hooks.append(hook)
        return lambda: hooks.remove(hook)

    # -- writing in place ------------------------------------------------------------------------------------------

    def assign(self, value: Any, by: str = "assign") -> None:
        """Write `value` (same shape) into this Tensor's memory; backward then refuses to use what an op saved of it.

        A value of another device is copied to this Tensor's.
        """
        if isinstance(value, Tensor):
            value = value.data
        elif not isinstance(value, ARRAYS):
            value = np.asarray(value)
        if value.shape != self.shape:
            raise ValueError(f"{by}: expected a value of shape {self.shape}, got {value.shape}")
        if self.dtype.kind in "biu" and value.dtype.kind not in "biu":
            raise TypeError(f"{by}: expected a value for {self.dtype}, got {value.dtype}, which would be cut")
        self.check_writable(by)
        self.data[...] = value if type(self.data) is ndarray is type(value) else place(value, self.device)
        self.touch(by)

    def touch(self, by: str) -> None:
        """Say that this Tensor's memory has been written by `by`."""
        writes.record(self.data, by)

    def check_writable(self, by: str) -> None:
        if self.node is not None and state.recording:
            raise RuntimeError(
                f"{by}: expected a leaf, got the result of {self.node.name}; detach() it or write under no_grad()"
            )
        if not writes.writable(self.data):
            raise RuntimeError(
                f"{by}: expected memory that may be written, got a read-only array of shape {self.shape}"
            )


DEFAULTS = {"d": np.dtype(np.float32), "D": np.dtype(np.complex64)}  # what Python's numbers become, by NumPy's dtype


def to_array(data: Any) -> Any:
    """What a Tensor holds: arrays as they are, Python numbers and lists of them in the default dtypes, on the default
    device."""
    if isinstance(data, OnDevice):
        return data
    if type(data) is Tensor:
        return data.data
    if isinstance(data, np.ndarray) or isinstance(data, np.generic):
        out = np.asarray(data)
        if out.dtype.kind not in NO_NUMBERS:
            return out
    elif type(data).__module__.partition(".")[0] == "cupy":
        from weft.backends.gpu.cuda_array import adopt

        return adopt(data)
    else:
        out = np.asarray(data)
    if out.dtype.kind in NO_NUMBERS:
        what = f"an array of {out.dtype}" if isinstance(data, np.ndarray) else type(data).__name__
        raise TypeError(f"Tensor: expected numbers, got {what}")
    if isinstance(data, (float, complex, list, tuple)):
        out = out.astype(DEFAULTS.get(out.dtype.char, out.dtype), copy=False)
    return place(out, default_device())


# -- recording ---------------------------------------------------------------------------------------------------------


def blamed(error: Exception, name: str, arrays: list[Any]) -> Exception:
    """An error of array code, as one that names the op and what it was given; one that names an op stays as it is."""
    for x in arrays:
        if not (x is None or hasattr(x, "dtype") or isinstance(x, (bool, int, float, complex))):
            return TypeError(f"{name}: expected arrays or numbers, got {type(x).__name__}")
    words = str(error)
    if isinstance(error, AttributeError) or re.match(r"\w[\w.]*(\(\))?: ", words):
        return error
    shapes = " and ".join(str(getattr(x, "shape", x)) for x in arrays if x is not None)
    kind = next(k for k in (IndexError, ValueError, TypeError) if isinstance(error, k))
    if "could not be broadcast" in words:
        return kind(f"{name}: expected shapes that broadcast together, got {shapes}")
    return kind(f"{name}: expected parameters that fit {shapes}, but {words}")


class Op(Protocol[P]):
    """A recorded function of Tensors, as `op` makes it of a body."""

    body: Callable[..., Any]
    __name__: str
    __qualname__: str

    def __call__(self, *inputs: P.args, **params: P.kwargs) -> Tensor: ...


@overload
def op(body: Callable[P, Any], *, name: str = "") -> Op[P]: ...
@overload
def op(body: None = None, *, name: str = "") -> Callable[[Callable[P, Any]], Op[P]]: ...
def op(body: Callable[..., Any] | None = None, *, name: str = "") -> Any:
    """Make a pure `body(*arrays, **params) -> (out, vjp)` a recorded function of Tensors.

    name: what errors and Tensors call it, where that is not the name of the body.

    Arrays are positional (None and Python scalars too), parameters keywords. vjp: a tuple with one callable per input,
    one callable that returns all gradients, or None where nothing is differentiable. A tuple `out` has several arrays;
    its vjp takes a tuple with None for those that nobody used.

    >>> import weft
    >>> @weft.op
    ... def cube(x):
    ...     return x * x * x, (lambda g: 3 * g * x * x,)
    >>> weft.grad(lambda x: cube(x).sum())(weft.asarray([2.0])).numpy()
    array([12.], dtype=float32)
    """

    if body is None:
        return functools.partial(op, name=name)

    @functools.wraps(body)
    def function(*inputs: Any, **params: Any) -> Any:
        if state.casting is not None:
            inputs = state.casting(body, inputs)
        needs, whole = False, True  # one input, every input requires a gradient
        elsewhere = False  # one input lives on a device
        arrays = []
        for x in inputs:
            if type(x) is Tensor or isinstance(x, Tensor):  # the second for subclasses, such as nn.Parameter
                data = x.data
                arrays.append(data)
                if type(data) is not ndarray:
                    elsewhere = True
                if x.requires_grad:
                    needs = True
                else:
                    whole = False
            else:  # a NumPy scalar is as weak as Python's, or float64 would creep in
                arrays.append(x.item() if isinstance(x, np.generic) else x)
                whole = False
                if isinstance(x, OnDevice):
                    elsewhere = True
        if elsewhere:
            check_together(name or body.__name__, arrays)
            if capturing.recorder is not None:
                capturing.recorder.saw(inputs)
        try:
            if tracing.tracer is None:
                out, vjp = body(*arrays, **params)
            else:
                out, vjp = tracing.tracer.op(name or body.__name__, body, arrays, params)
        except (ValueError, IndexError, TypeError, AttributeError) as error:
            reason = blamed(error, name or body.__name__, arrays)
            if reason is error:
                raise
            raise reason from error
        if observers:
            for observer in observers:
                observer(body, tuple(arrays), out)
        if not needs or vjp is None or not state.recording:
            results = tuple([Tensor(o) for o in out]) if type(out) is tuple else Tensor(out)
            if state.exporting is not None:
                state.exporting(body, arrays, params, results)
            return results
        if not whole and type(vjp) is tuple:  # drop what only unneeded inputs would capture
            vjp = [v if isinstance(x, Tensor) and x.requires_grad else None for v, x in zip(vjp, inputs)]
        node = Node(body, inputs, arrays, params, vjp)
        if type(out) is tuple:
            results = tuple([Tensor(o, o.dtype.kind not in "biu", node, i) for i, o in enumerate(out)])
            node.outs = [weakref.ref(t) for t in results]
            return results
        result = Tensor(out, True, node)
        node.outs = [weakref.ref(result)]
        return result

    function.body = body  # type: ignore[attr-defined]
    body.title = name  # type: ignore[attr-defined]
    bodies.add(body)
    return function


def op_of_several(body: Callable[P, Any]) -> Callable[P, tuple[Any, ...]]:
    """`op` for a body whose result is a tuple: the same, but that type checkers know it."""
    return op(body)  # type: ignore[return-value]


class RecordingAs:
    """Set recording for a block or a function, in this thread."""

    def __init__(self, value: bool):
        self.value = value
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(state.recording)
        state.recording = self.value

    def __exit__(self, *_: object) -> None:
        state.recording = self.before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with RecordingAs(self.value):
                return function(*args, **kwargs)

        return wrapped


def no_grad() -> RecordingAs:
    """Record nothing in this block (or decorated function), in this thread.

    >>> x = weft.Tensor([1.0], requires_grad=True)
    >>> with weft.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    return RecordingAs(False)


def enable_grad() -> RecordingAs:
    """Record again inside a `no_grad` block.

    >>> x = weft.Tensor([1.0], requires_grad=True)
    >>> with weft.no_grad(), weft.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """
    return RecordingAs(True)


def is_recording() -> bool:
    """Whether ops in this thread record.

    >>> with weft.no_grad():
    ...     weft.is_recording()
    False
    """
    return state.recording


class CastingAs:
    """Cast the inputs of ops by `casting` (None: not at all) in a block, in this thread."""

    def __init__(self, casting: Any):
        self.casting = casting

    def __enter__(self) -> None:
        self.before, state.casting = state.casting, self.casting

    def __exit__(self, *_: object) -> None:
        state.casting = self.before


def agree(first: Any, *others: Any) -> bool:
    """Whether an op that wants one dtype gets it: all have the same, or `weft.autocast` will see to it."""
    if all([x.dtype == first.dtype for x in others]):
        return True
    return state.casting is not None and all([x.dtype != np.float64 for x in (first, *others)])


@op(name="to_device")
def moved(x, *, device):
    """x on another device."""
    home = device_of(x)
    return x.to_device(device) if type(x) is Tensor else place(x, device), (lambda g: moved.body(g, device=home)[0],)


from weft.backward import accumulate, forward_order, grad, plain, propagate  # noqa: E402, F401  (it needs the above)
