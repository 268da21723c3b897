"""`weft.capture`: a whole training step recorded once and replayed, so that Python no longer pays for its launches.

On a GPU the recording is a CUDA graph over a private pool of memory; on the emulated device it is the list of launches;
on the CPU a step simply runs. Nothing runs while it is recorded: the first replay is the step that was asked for.
"""

from __future__ import annotations

import copy
import functools
import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from weft import autograd
from weft.autograd import Tensor
from weft.backends import capturing, writes
from weft.backends.array import namespace
from weft.backends.capturing import CaptureError, Recorder
from weft.backends.device import default_device
from weft.nn import module as modules

__all__ = ["CaptureError", "Captured", "capture"]

KEPT = 8  # recordings of one step, for as many shapes
STRANGERS = 64  # calls that each had shapes or constants of their own, after which a warning says so
RESTLESS = 3  # recordings broken by one and the same thing, after which a warning names it


class Recording:
    """One recorded step: its arguments' memory, its results' memory, and what to do beside the replay."""

    def __init__(self, step: Callable[..., Any], args: Any, tensors: list[Tensor], received: dict[int, Any]):
        from weft.backends.gpu import graphs

        device = tensors[0].device if tensors else default_device()
        self.recorder: Recorder = graphs.record(device)
        recorder = self.recorder
        self.inputs = [Tensor(namespace(t.data).astype(t.data, t.dtype, copy=True)) for t in tensors]
        for own in self.inputs:
            recorder.pin(own.data)
            recorder.arguments.add(id(own.data))
        recorder.gradients = {key: (leaf, leaf.grad) for key, leaf in received.items()}
        modes = Modes(recorder, modules.watch)
        capturing.state.received, modules.watch = dict(received), modes
        stand_ins = iter(self.inputs)
        args, kwargs = rebuild(args, lambda leaf: next(stand_ins) if isinstance(leaf, Tensor) else leaf)
        before = living()
        try:
            with graphs.recording(recorder):
                out = step(*args, **kwargs)
        except BaseException:
            recorder.rewind()
            for leaf, gradient in (*recorder.gradients.values(), *recorder.late.values()):
                leaf.grad = gradient
            raise
        finally:
            modules.watch = modes.before
            leaves, capturing.state.received = capturing.state.received, None
        self.gradients = [(leaf, leaf.grad) for leaf in (leaves or {}).values()]
        self.out = rebuild(out, lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf)
        del out, leaves
        gc.collect()
        #: Shapes of Tensors that the step read and let go of, for others that replays would not read.
        self.dropped = recorder.close(before)
        recorder.rewind()
        self.run()

    def broken(self) -> str:
        return self.recorder.broken()

    def replay(self, tensors: list[Tensor]) -> Any:
        """One step on these arguments."""
        for own, given in zip(self.inputs, tensors, strict=True):
            namespace(own.data).assign(own.data, given.data)
        self.run()
        return self.results()

    def run(self) -> None:
        from weft.backends.gpu import flags

        recorder = self.recorder
        recorder.advance()
        recorder.replay()
        flags.handed_out |= recorder.flags
        for array, by in recorder.written.values():
            writes.record(array, by)
        for leaf, gradient in self.gradients:
            leaf.grad = gradient

    def results(self) -> Any:
        """What the step returned, in memory that the next replay does not touch."""
        return copies(self.out)


def living() -> dict[int, Any]:
    """Weak references to all Tensors that there are, by id."""
    frozen = gc.get_freeze_count()
    if frozen:  # the collector does not list what is frozen, and a state among it that is bound anew would go unseen
        gc.collect()
        gc.unfreeze()
    found = {id(x): weakref.ref(x) for x in gc.get_objects() if issubclass(type(x), Tensor)}
    if frozen:
        gc.freeze()
    return found


class Modes:
    """Notes in which mode modules run while a step is recorded; `before` is who watched until now."""

    def __init__(self, recorder: Recorder, before: Any):
        self.recorder, self.before = recorder, before
        self.seen: dict[int, bool] = {}

    def enter(self, module: Any) -> None:
        if self.before is not None:
            self.before.enter(module)
        if capturing.state.recorder is self.recorder and id(module) not in self.seen:
            mode = self.seen[id(module)] = module.training
            self.recorder.assume(f"the mode of a {type(module).__name__}", lambda: module.training is mode)

    def leave(self, module: Any, out: Any) -> None:
        if self.before is not None:
            self.before.leave(module, out)


def rebuild(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """A nest of tuples, lists and dicts with `leaf(x)` in place of every x that is none of these."""
    if isinstance(tree, dict):
        return {key: rebuild(value, leaf) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[rebuild(value, leaf) for value in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)([rebuild(value, leaf) for value in tree])
    return leaf(tree)


def copies(tree: Any) -> Any:
    """A nest of Tensors as copies, off the tape."""
    return rebuild(tree, lambda leaf: Tensor(leaf.data.copy()) if isinstance(leaf, Tensor) else leaf)


class Captured:
    """A step that `capture` made. `captures` counts its recordings, `replays` the steps that they ran."""

    def __init__(self, step: Callable[..., Any], warmup: int):
        functools.update_wrapper(self, step)
        self.step, self.warmup = step, warmup
        self.captures = self.replays = 0
        self.reset()

    def reset(self) -> None:
        """Forget all recordings and give their memory back."""
        self.recordings: dict[Any, Recording] = {}
        self.warm: dict[Any, tuple[int, dict[int, Any]]] = {}  # calls so far, and the leaves that had gradients
        self.breaks: dict[str, int] = {}
        self.plain: set[Any] = set()  # what is not recorded

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        key = self.key((args, kwargs), tensors)
        device = tensors[0].device if tensors else default_device()
        if capturing.state.recorder is not None:
            return self.step(*args, **kwargs)
        if device == "cpu" or key in self.plain:
            return copies(self.step(*args, **kwargs))
        recording = self.recordings.get(key)
        if recording is not None:
            broken = recording.broken()
            if not broken:
                self.replays += 1
                self.recordings[key] = self.recordings.pop(key)  # the one used last goes last
                return recording.replay(tensors)
            self.drop(key, broken)
        calls, received = self.warm.get(key, (0, {}))
        if calls < self.warmup:
            capturing.state.received = received
            try:
                out = self.step(*args, **kwargs)
            finally:
                capturing.state.received = None
            self.warm[key] = (calls + 1, received)
            if len(self.warm) == STRANGERS:
                self.forget_strangers()
            return copies(out)
        if len(self.recordings) == KEPT:
            del self.recordings[next(iter(self.recordings))]
        recording = Recording(self.step, (args, kwargs), tensors, received)
        if recording.dropped:
            self.plain.add(key)
            self.warn(f"binds a Tensor {recording.dropped[0]} anew that it reads, which a recording would not see, and "
                      "runs as it is; write into what is carried from call to call: state[...] = new")  # fmt: skip
        else:
            self.recordings[key] = recording
            self.captures += 1
        return recording.results()

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """The step of one object, where a method was captured: it has recordings of its own."""
        if instance is None:
            return self
        bound = Captured(self.step.__get__(instance, owner), self.warmup)
        vars(instance)[self.name] = bound  # found before this from now on
        return bound

    def __deepcopy__(self, memo: dict[int, Any]) -> Captured:
        return Captured(copy.deepcopy(self.step, memo), self.warmup)  # which records for itself

    def warn(self, what: str) -> None:
        warnings.warn(f"capture: {getattr(self.step, '__name__', 'step')} {what}", stacklevel=3)

    def forget_strangers(self) -> None:
        """Let go of calls that were never repeated, and say so."""
        self.warm = {key: known for key, known in self.warm.items() if key in self.recordings}
        self.warn(f"was called with {STRANGERS} different shapes or constants, each recorded for itself; pass numbers "
                  "that change as Tensors")  # fmt: skip

    def drop(self, key: Any, what: str) -> None:
        """Let a recording go because `what` has changed; the step warms up again."""
        del self.recordings[key], self.warm[key]
        self.breaks[what] = self.breaks.get(what, 0) + 1
        if self.breaks[what] == RESTLESS:
            self.warn(f"was recorded {RESTLESS} times for nothing, because {what} changes between its calls")

    def key(self, given: Any, tensors: list[Tensor]) -> Any:
        """What a recording is for; collects the Tensors among the arguments."""
        parts: list[Any] = []

        def leaf(x: Any) -> Any:
            if isinstance(x, Tensor):
                if x.requires_grad:
                    raise CaptureError(
                        f"capture: expected arguments without gradients, got a Tensor {x.shape} that requires one; "
                        "let the step reach it by itself"
                    )
                tensors.append(x)
                parts.append((x.shape, x.dtype, x.device))
            else:
                try:
                    hash(x)
                except TypeError:
                    what = type(x).__name__
                    raise CaptureError(f"capture: expected Tensors and constants as arguments, got {what}") from None
                # by their digits: 0.0 is no -0.0, and NaN is itself
                parts.append((type(x), repr(x) if isinstance(x, (float, complex, np.inexact)) else x))
            return type(x) is Tensor

        form = repr(rebuild(given, leaf))
        casting = autograd.state.casting
        return (form, tuple(parts), autograd.is_recording(), None if casting is None else casting.dtype,
                default_device(), settings())  # fmt: skip


def settings() -> Any:
    """What kernels are chosen by, beside the arrays."""
    from weft.backends import emulator
    from weft.backends.gpu.gemm_choice import get_float32_matmul_precision

    config = emulator.config
    return get_float32_matmul_precision(), config.arch, config.checked, config.multiprocessors


def capture(step: Callable[..., Any] | None = None, *, warmup: int = 1) -> Any:
    """A function that records `step` on its first calls and replays the recording from then on.

    step: a function of Tensors that reaches models and optimizers by itself, e.g. a training step: forward, loss,
    backward, clipping, update. It returns Tensors (or nests of them), which come back as copies, off the tape. warmup:
    calls that run as they are before one is recorded, at least 1. Every call is one step and computes what the plain
    function would: random numbers, learning rates, step counts, the scale and the skipped steps of a `GradScaler`, and
    running statistics go on from call to call.

    Another shape, dtype or constant among the arguments is recorded for itself (the latest 8 are kept). A step is
    recorded anew when what it was recorded with has changed: a module's mode, a hyperparameter, a parameter's or a
    gradient's memory. What Python does besides (printing, counting, schedules) happens while recording alone, so do it
    outside. A Tensor that the step carries from call to call must be written in place (`state[...] = new`): a step
    that binds it anew runs as it is, and a warning says so. CaptureError names what cannot be recorded, and the line:
    reading values (`item`, `numpy`), arrays made of the host's, random numbers of the host, functions without a
    kernel. Nothing of the step has run then: parameters, gradients, random numbers and counts are as they were.

    >>> @weft.capture                                              # doctest: +SKIP
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = criterion(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    """
    if warmup < 1:
        raise ValueError(f"capture: expected warmup >= 1, got {warmup}")
    if step is None:
        return functools.partial(capture, warmup=warmup)
    return Captured(step, warmup)
