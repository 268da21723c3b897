"""What a step that is being recorded (`weft.capture`) tells the rest of Weft, and what it forbids.

A recorder is set for the thread that records. Launches, allocations and writes report to it; what would leave the
device, or differ from step to step, asks it first. `gpu/graphs.py` has the recorders of the devices.
"""

from __future__ import annotations

import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SLOTS = 4096  # values of 8 bytes that the host may hand to one recorded step
PACKAGE = str(Path(__file__).resolve().parents[1])


class CaptureError(RuntimeError):
    """A step cannot be recorded; the message names what it did, and where."""


class State(threading.local):
    """Of the thread that records."""

    recorder: Recorder | None = None
    received: dict[int, Any] | None = None  # the leaves whose gradients arrive while a step warms up or is recorded


state = State()


def refuse(what: str, instead: str) -> None:
    """Raise CaptureError if a step is being recorded: `what` it did, and what to do `instead`."""
    recorder = state.recorder
    if recorder is not None:
        function, place = caller()
        raise CaptureError(
            f"capture: expected a step that stays on {recorder.device}, got {what} ({function} at {place}); {instead}"
        )


def leaving(shape: Any) -> None:
    """Values are about to be copied to the host."""
    if state.recorder is not None:
        refuse(f"a copy of {tuple(shape)} to the host", "return the Tensor, and read it after the step")


def arriving(shape: Any, dtype: Any) -> None:
    """Values of the host are about to be copied to a device."""
    if state.recorder is not None:
        refuse(f"a copy of {dtype} {tuple(shape)} from the host", "make it before the step, or pass it to the step")


def caller() -> tuple[str, str]:
    """The function of Weft that the user's code called, and the file and line of that call."""
    frame: Any = sys._getframe(1)
    name = "?"
    while frame is not None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return name, f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        body = frame.f_locals.get("body")  # of an op, whose wrapper has no name of its own
        name, frame = getattr(body, "__name__", frame.f_code.co_name), frame.f_back
    return name, "?"


class Draws:
    """The random numbers that a step takes of one generator, counted from where the generator stands before it."""

    def __init__(self, generator: Any, seed: int, offset: int):
        self.generator, self.recorded_at = generator, (seed, offset)
        self.seed, self.offset = seed, offset  # before the step that is about to run
        self.total = 0  # words that a step takes
        self.known: dict[int, Any] = {}  # words from the start -> the offset on the device
        self.seed_array: Any = None


class Recorder(ABC):
    """What the recording of one step has seen, and what its replay needs.

    device: where it runs. table: SLOTS words on the device for values of the host that change from step to step.
    """

    stream = 0  # that launches the recording

    def __init__(self, device: str, table: Any):
        self.device, self.table = device, table
        self.host = np.zeros(SLOTS, np.uint64)
        self.live_values: list[tuple[Any, Callable[[], Any]]] = []  # (view of self.host, value now)
        self.draws: dict[int, Draws] = {}
        self.effects: list[tuple[Callable[[], None], Callable[[], None]]] = []  # (do, undo) on the host, once a step
        self.assumptions: list[tuple[str, Callable[[], bool]]] = []
        self.leaves: dict[int, tuple[Any, Any]] = {}  # id -> (weak Tensor, the array it had)
        self.gradients: dict[int, tuple[Any, Any]] = {}  # id -> (leaf, its gradient when the step began)
        self.late: dict[int, tuple[Any, Any]] = {}  # the same of leaves that got none before, when they got one
        self.written: dict[int, tuple[Any, str]] = {}  # id of an array -> (it, who wrote it)
        self.flags: set[Any] = set()
        self.pinned: list[Any] = []
        self.places: set[int] = set()
        self.arguments: set[int] = set()  # ids of the arrays that hold the arguments

    # ---- reports

    @abstractmethod
    def launched(self, *launch: Any) -> bool:
        """A kernel is about to be launched, with the arguments of `launch.launch`; whether it is to go to the device,
        which keeps it for the replay."""

    @abstractmethod
    def outside(self, array: Any) -> bool:
        """Whether an array is to be kept for the recording, as memory that is not the recording's own."""

    def pin(self, array: Any) -> None:
        """Keep an array for as long as the recording, unless it is its own."""
        if id(array) not in self.places and self.outside(array):
            self.places.add(id(array))
            self.pinned.append(array)

    def saw(self, tensors: Any) -> None:
        """Inputs of an op: a Tensor that the step has from outside must hold the same memory at every replay."""
        for x in tensors:
            if getattr(x, "node", self) is None and self.outside(x.data):
                known = self.leaves.get(id(x))
                if known is None or known[0]() is not x:
                    self.leaves[id(x)] = (weakref.ref(x), x.data)
                    self.pin(x.data)

    def wrote(self, array: Any, by: str) -> None:
        """`by` writes into an array, and will in every replay."""
        if id(array) in self.arguments or id(getattr(array, "base", None)) in self.arguments:
            refuse(f"a write into an argument by {by}", "write into a Tensor that the step reaches by itself")
        if self.outside(array):
            self.written[id(array)] = (array, by)
            self.pin(array)

    # ---- values of the host

    def live(self, dtype: Any, value: Callable[[], Any]) -> Any:
        """An array (1,) on the device that holds `value()` as it is when a step begins."""
        place = len(self.live_values)
        if place == SLOTS:
            raise CaptureError(f"capture: expected at most {SLOTS} values of the host in a step, got one more")
        slot = self.host[place : place + 1].view(dtype)[:1]
        slot[0] = value()
        self.live_values.append((slot, value))
        on_device = self.table[place : place + 1].view(np.dtype(dtype))[:1]
        self.fill(place, place + 1)
        return on_device

    @abstractmethod
    def fill(self, start: int, stop: int) -> None:
        """Copy values from `host` to the device's table, in the order of the current stream."""

    def draw(self, generator: Any, seed: int, offset: int) -> tuple[Any, Any]:
        """(seed, offset) of random numbers as arrays (1,) of the device."""
        draws = self.draws.get(id(generator))
        if draws is None:
            draws = self.draws[id(generator)] = Draws(generator, seed, offset)
        if seed != draws.recorded_at[0]:
            refuse("another seed in the middle of the step", "seed before the step")
        start = offset - draws.recorded_at[1]
        if draws.seed_array is None:
            draws.seed_array = self.live(np.uint64, lambda: draws.seed)
        if start not in draws.known:
            draws.known[start] = self.live(np.uint64, lambda: draws.offset + start)
        return draws.seed_array, draws.known[start]

    def each_step(self, do: Callable[[], None], undo: Callable[[], None]) -> None:
        """Something that the host does in every step, and has just done."""
        self.effects.append((do, undo))

    def assume(self, what: str, holds: Callable[[], bool]) -> None:
        """The recording is right only as long as `holds()`; `what` is what would have changed."""
        self.assumptions.append((what, holds))

    # ---- the end of recording, and replays

    def close(self, before: dict[int, Any]) -> list[tuple[int, ...]]:
        """The step has been recorded; shapes of what it read of the Tensors `before` it, which are now gone."""
        for draws in self.draws.values():
            draws.total = draws.generator.get_state()[1] - draws.recorded_at[1]
        gone = {key: pair for key, pair in self.leaves.items() if pair[0]() is None}
        self.leaves = {key: pair for key, pair in self.leaves.items() if key not in gone}
        return [array.shape for key, (reference, array) in gone.items() if before.get(key) is reference]

    def rewind(self) -> None:
        """Undo what the host did while the step was recorded."""
        for draws in self.draws.values():
            draws.generator.set_state(draws.recorded_at)
        for _, undo in reversed(self.effects):
            undo()

    def broken(self) -> str:
        """What has changed since the recording, so that it can be used no more; "" where nothing has."""
        for reference, array in self.leaves.values():
            leaf = reference()
            if leaf is None or leaf.data is not array:
                return f"the memory of a Tensor {array.shape}"
        return next((what for what, holds in self.assumptions if not holds()), "")

    def advance(self) -> None:
        """The host's part of one more step, before the device's."""
        for draws in self.draws.values():
            draws.seed, draws.offset = draws.generator.advance(draws.total)
        for do, _ in self.effects:
            do()
        for slot, value in self.live_values:
            slot[0] = value()
        if self.live_values:
            self.fill(0, len(self.live_values))

    @abstractmethod
    def replay(self) -> None:
        """Run the recorded launches."""
