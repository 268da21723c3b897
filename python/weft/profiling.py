"""weft.profile: where the time and the memory of a block of code go, by module, op and kernel, forward and backward.

with weft.profile() as p:
    loss = criterion(model(x), y)
    loss.backward()
print(p.table())
p.export_chrome_trace("trace.json")      # for ui.perfetto.dev or chrome://tracing
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from weft.autograd import Tensor
from weft.backends import registry, tracing, writes
from weft.backends.array import ARRAYS
from weft.backends.gpu.timeline import Timeline
from weft.backends.piece import Pieces
from weft.nn import module as modules
from weft.nn.module import Module

FORWARD, BACKWARD = "forward", "backward"


@dataclass
class Event:
    """Something that ran. kind: "op", "entry" (what ran for a primitive), "kernel", "module" or "span" (the user's).

    module: path of the module it belongs to, "" outside of any. direction: "forward", "backward", or "" for what runs
    outside of ops. start, seconds: on the clock of `time.perf_counter`; of a kernel, on its device. thread: of the
    host, or the device's name. shapes, dtypes: of the arrays that went in. made: bytes of new memory in its results.
    inside: what it ran in.
    """

    name: str
    kind: str
    module: str
    direction: str
    start: float
    thread: int | str
    shapes: tuple[Any, ...] = ()
    dtypes: tuple[str, ...] = ()
    seconds: float = 0.0
    made: int = 0
    inside: Event | None = None
    within: list[Event] = field(default_factory=list, repr=False)

    def ran(self) -> list[str]:
        """The entries and kernels that the event ran, outermost entries and all kernels, each once."""
        names: dict[str, None] = {}
        for event in self.within:
            if event.kind == "entry":
                names[event.name] = None
            for inner in [event.name] if event.kind == "kernel" else event.kernels():
                names[inner] = None
        return list(names)

    def kernels(self) -> list[str]:
        found = []
        for event in self.within:
            found += [event.name] if event.kind == "kernel" else event.kernels()
        return found

    def device_seconds(self) -> float:
        """Time that kernels took for this event on their device."""
        return sum(e.seconds if e.kind == "kernel" else e.device_seconds() for e in self.within)


class Stack(threading.local):
    """What is open in a thread: events, and the modules that are being called with their paths."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.modules: list[tuple[Module, str]] = []
        self.paths: dict[int, str] = {}


class Profile:
    """Records what runs in a `with` block. Make it by `weft.profile`.

    events: every Event in the order of their starts. seconds: length of the block. live: (time, bytes) whenever memory
    of results was made or given back.
    """

    def __init__(self, memory: bool = True):
        self.memory = memory
        self.events: list[Event] = []
        self.live: list[tuple[float, int]] = []
        self.bytes = 0
        self.owners: dict[int, Any] = {}
        self.stack = Stack()
        self.lock = threading.RLock()  # a weak reference may call back while it is held
        self.timeline = Timeline()
        self.active = False
        self.start = self.seconds = 0.0

    def __enter__(self) -> Self:
        if tracing.state.tracer is not None:
            raise RuntimeError("profile: expected one profile at a time, got a second inside the first")
        self.outer, modules.watch = modules.watch, self
        tracing.state.tracer = self
        registry.wrap_entries(self.wrap)
        self.active = True
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.timeline.finish()
        finally:
            self.seconds = time.perf_counter() - self.start
            self.active = False
            registry.wrap_entries(None)
            tracing.state.tracer, modules.watch = None, self.outer
            self.owners.clear()
            self.events.sort(key=lambda event: event.start)

    # ---- what the rest of Weft reports

    def open(self, name: str, kind: str, module: str | None = None, **facts: Any) -> Event:
        events = self.stack.events
        inside = events[-1] if events else None
        outside = inside is None and kind in ("entry", "kernel")  # of any op: what an optimizer runs
        direction = facts.pop("direction", inside.direction if inside is not None else "" if outside else FORWARD)
        if module is None:
            module = inside.module if inside is not None and kind != "op" else self.place()
        event = Event(name, kind, module, direction, time.perf_counter(), threading.get_ident(), **facts)
        event.inside = inside
        events.append(event)
        return event

    def close(self, event: Event) -> None:
        event.seconds = time.perf_counter() - event.start
        self.stack.events.pop()
        with self.lock:
            self.events.append(event)
        if event.inside is not None:
            event.inside.within.append(event)

    def place(self) -> str:
        return self.stack.modules[-1][1] if self.stack.modules else ""

    def op(self, name: str, body: Any, arrays: list[Any], params: dict[str, Any]) -> tuple[Any, Any]:
        event = self.open(name, "op", **described(arrays))
        try:
            out, vjp = body(*arrays, **params)
        finally:
            self.close(event)
        self.count(event, out, arrays)
        module = event.module
        if callable(vjp):
            return out, self.going_back(vjp, name, module)
        if type(vjp) is tuple:
            return out, tuple([None if part is None else self.going_back(part, name, module) for part in vjp])
        return out, vjp

    def going_back(self, vjp: Callable[..., Any], name: str, module: str) -> Callable[..., Any]:
        """A vjp that is timed as the backward of its op, for as long as the profile goes on."""

        def timed(g: Any) -> Any:
            if not self.active:
                return vjp(g)
            given = list(g) if isinstance(g, tuple) else [g]
            event = self.open(name, "op", module, direction=BACKWARD, **described(given))
            try:
                out = vjp(g)
            finally:
                self.close(event)
            self.count(event, out, given)
            return out

        return timed

    def wrap(self, primitive: str, entry: Callable[..., Any], is_reference: bool) -> Callable[..., Any]:
        """An entry of a primitive that is timed."""
        where = "reference" if is_reference else entry.__module__.removeprefix("weft.backends.").removeprefix("weft.")
        name = where if where.rpartition(".")[2] == primitive else f"{where}.{primitive}"

        @functools.wraps(entry)
        def timed(*arrays: Any, **params: Any) -> Any:
            alone = not self.stack.events or self.stack.events[-1].kind in ("module", "span")
            event = self.open(name, "entry", **(described(flat(arrays)) if alone else {}))
            try:
                return entry(*arrays, **params)
            finally:
                self.close(event)

        return timed

    def launch(self, way: Callable[..., None], kernel: Any, grid: Any, block: Any, arguments: Any, *rest: Any) -> None:
        device = next(a.device_name for a in arguments if getattr(a, "device_name", None))
        inside = self.stack.events[-1] if self.stack.events else None
        module, direction = (inside.module, inside.direction) if inside is not None else ("", "")

        def ran(start: float, seconds: float) -> None:
            event = Event(kernel.name, "kernel", module, direction, start, device, seconds=seconds, inside=inside)
            with self.lock:
                self.events.append(event)
            if inside is not None:
                inside.within.append(event)

        self.timeline.launch(device, lambda: way(kernel, grid, block, arguments, *rest), ran)

    def enter(self, module: Module) -> None:
        stack = self.stack
        if all(m is None for m, _ in stack.modules):  # but for spans
            stack.paths = {id(m): path for path, m in module.named_modules()}
        path = stack.paths.get(id(module), "") or type(module).__name__
        stack.modules.append((module, path))
        self.open(type(module).__name__, "module", path)
        if self.outer is not None:
            self.outer.enter(module)

    def leave(self, module: Module, out: Any) -> None:
        self.stack.modules.pop()
        self.close(self.stack.events[-1])
        if self.outer is not None:
            self.outer.leave(module, out)

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """A name of the user's for what runs in a block, shown in the trace and in the table's module column."""
        event = self.open(name, "span", name)
        self.stack.modules.append((None, name))  # type: ignore[arg-type]
        try:
            yield
        finally:
            self.stack.modules.pop()
            self.close(event)

    # ---- memory

    def count(self, event: Event, out: Any, arrays: Sequence[Any]) -> None:
        """Add the new memory of results, and take it off again when it is gone."""
        if not self.memory:
            return
        known = {id(writes.owner(a)) for a in flat(arrays) if isinstance(a, ARRAYS)}
        for array in flat(out if isinstance(out, tuple) else (out,)):
            if not isinstance(array, ARRAYS):
                continue
            memory = writes.owner(array)
            if id(memory) in known or id(memory) in self.owners:
                continue
            event.made += memory.nbytes
            self.change(memory.nbytes)
            self.owners[id(memory)] = weakref.ref(memory, functools.partial(self.gone, id(memory), memory.nbytes))

    def gone(self, key: int, nbytes: int, _: Any) -> None:
        if self.owners.pop(key, None) is not None and self.active:
            self.change(-nbytes)

    def change(self, nbytes: int) -> None:
        with self.lock:
            self.bytes += nbytes
            self.live.append((time.perf_counter(), self.bytes))

    @property
    def peak(self) -> int:
        """The most bytes that results made in the block held at once."""
        return max((held for _, held in self.live), default=0)

    # ---- reports

    def table(self, by: Sequence[str] = ("module", "op", "pass", "ran", "shapes"), rows: int | None = 30) -> str:
        """Calls, time and memory by what is named in `by`, the longest first, as text.

        by: out of "module", "op", "pass", "ran" (entries and kernels), "shapes", "dtypes". rows: None for all.
        """
        from weft.profile_report import table

        return table(self, by, rows)

    def export_chrome_trace(self, path: Path | str) -> None:
        """Write the events as JSON in Chrome's trace event format, which Perfetto and chrome://tracing open."""
        from weft.profile_report import chrome_trace

        Path(path).write_text(chrome_trace(self), encoding="utf-8")

    def __repr__(self) -> str:
        return self.table() if self.events else "<a profile without events>"


def profile(memory: bool = True) -> Profile:
    """Record the ops, entries and kernels of a `with` block, with the modules that they belong to.

    memory: also count the bytes of results.  Backward ops are put to the module whose forward recorded them, as long
    as that was in the block too. On GPUs, kernels are timed by events on their stream; a step that `weft.capture`
    replays runs no ops, and shows none. A profile costs some microseconds per op; without one it is nil.

    >>> import weft
    >>> with weft.profile() as p:
    ...     y = weft.ones((3, 4)).exp().sum()
    >>> [event.name for event in p.events if event.kind == "op"]
    ['exp', 'sum']
    """
    return Profile(memory)


def flat(arrays: Any) -> list[Any]:
    """Raw arrays of nested arguments; of Tensors (in a replay) their arrays, of pieces their parts."""
    found = []
    for a in arrays:
        if type(a) in (list, tuple):
            found += flat(a)
        elif isinstance(a, Tensor):
            found.append(a.data)
        elif type(a) is Pieces:
            found += [part for part, _ in a.parts]
        else:
            found.append(a)
    return found


def described(arrays: Sequence[Any]) -> dict[str, Any]:
    """Shapes and dtypes of arrays, for an Event."""
    known = [a for a in arrays if hasattr(a, "shape")]
    return {"shapes": tuple([tuple(a.shape) for a in known]), "dtypes": tuple([str(a.dtype) for a in known])}
