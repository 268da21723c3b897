"""GPUs: which there are, their streams, events and memory.

>>> import weft
>>> isinstance(weft.cuda.is_available(), bool)
True
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weft.backends import device as devices
from weft.backends.driver import CudaError
from weft.backends.rings import Ring

if TYPE_CHECKING:
    from weft.backends.cupy_device import OutOfMemoryError

__all__ = [
    "CudaError", "Event", "OutOfMemoryError", "Ring", "Stream", "capability", "current_device", "current_stream",
    "device", "device_count", "device_name", "empty_cache", "is_available", "max_memory_reserved", "memory_allocated",
    "memory_reserved", "memory_summary", "reset_peak_memory", "stream", "synchronize",
]  # fmt: skip


def cupy_device() -> Any:
    """What speaks with CuPy; RuntimeError where there is no GPU to speak with."""
    if not devices.usable():
        raise RuntimeError(f"cuda: expected a GPU{devices.reason() or ', but there is none'}")
    from weft.backends import cupy_device

    return cupy_device


def __getattr__(name: str) -> Any:
    if name == "OutOfMemoryError":
        return cupy_device().OutOfMemoryError
    raise AttributeError(f"module 'weft.cuda' has no attribute {name!r}")


def number(device: int | str | None) -> int:
    """The number of a device: 1, "cuda:1", or None for the current one. ValueError if there is no such GPU."""
    if device is None:
        return int(cupy_device().current())
    name = f"cuda:{device}" if isinstance(device, int) else device
    if name == "cuda":
        return int(cupy_device().current())
    if not isinstance(name, str) or not name.startswith("cuda:") or not name[5:].isdigit():
        raise ValueError(f"cuda: expected the number or the name of a GPU, got {device!r}")
    found = int(name[5:])
    if found >= device_count():
        raise ValueError(f"cuda: expected one of {device_count()} GPUs, got {name}")
    return found


# ---- devices


def is_available() -> bool:
    """Whether arrays can live on a GPU here: there is one, its driver, and CuPy."""
    return devices.usable() > 0


def device_count() -> int:
    """How many GPUs arrays can live on."""
    return devices.usable()


def current_device() -> int:
    """The number of the GPU that "cuda" means. RuntimeError without one."""
    return number(None)


def device_name(device: int | str | None = None) -> str:
    """The name of a GPU, as its driver gives it."""
    return str(cupy_device().name(number(device)))


def capability(device: int | str | None = None) -> int:
    """The compute capability of a GPU: 90 for an H100."""
    from weft.backends import driver

    return driver.capability(number(device))


@contextmanager
def device(which: int | str) -> Iterator[int]:
    """Make a GPU the one that "cuda" means, for as long as the `with` block lasts.

    >>> with weft.cuda.device(1): x = weft.zeros((8,), device="cuda")   # doctest: +SKIP
    """
    found = number(which)
    with cupy_device().device(found):
        yield found


def synchronize(device: int | str | None = None) -> None:
    """Wait until a GPU has done all that was enqueued, and raise what its kernels have noted.

    device: a number, "cuda:N", "emulated" (which is always done, but may have noted something), or None: the current
    GPU. IndexError and FloatingPointError are of kernels (an index out of range); CudaError is the driver's.
    """
    from weft.backends.gpu import flags

    if device == "emulated":
        flags.check("emulated", every_stream=True)
        return
    found = number(device)
    cupy_device().synchronize(found)
    flags.check(f"cuda:{found}", every_stream=True)


# ---- streams and events


class Stream:
    """A queue of work on the current GPU, that runs beside other streams.

    priority: lower numbers first, as CUDA has it. Work of a `with` block is enqueued here:

    >>> copies = weft.cuda.Stream()                          # doctest: +SKIP
    >>> with copies: x = weft.asarray(data, device="cuda")   # doctest: +SKIP

    What an array of one stream needs before another stream uses it is an Event, or a Ring of buffers.
    """

    def __init__(self, priority: int = 0, *, of: Any = None):
        self.cupy = cupy_device().new_stream(priority) if of is None else of

    def __enter__(self) -> Stream:
        self.cupy.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.cupy.__exit__(*raised)

    @property
    def ptr(self) -> int:
        """The address of the driver's stream, for other libraries."""
        return int(self.cupy.ptr)

    def wait(self, event: Event) -> None:
        """Let what is enqueued from now on wait for `event`; the host does not wait."""
        self.cupy.wait_event(event.cupy)

    def record(self) -> Event:
        """An event that happens when all that is enqueued so far is done."""
        event = Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        """Wait on the host until all that is enqueued is done."""
        self.cupy.synchronize()

    @property
    def done(self) -> bool:
        """Whether all that was enqueued is done."""
        return bool(self.cupy.done)


class Event:
    """A point in a stream that the host or another stream may wait for; with timing=True, `seconds` measures."""

    def __init__(self, timing: bool = False):
        self.cupy = cupy_device().new_event(timing)

    def record(self, stream: Stream | None = None) -> None:
        """Put the event at the end of a stream, of the current one by default."""
        self.cupy.record(None if stream is None else stream.cupy)

    def synchronize(self) -> None:
        """Wait on the host until the event has happened."""
        self.cupy.synchronize()

    @property
    def done(self) -> bool:
        """Whether the event has happened."""
        return bool(self.cupy.done)

    def seconds(self, end: Event) -> float:
        """Seconds from this event to `end`; both were made with timing=True and have happened."""
        return float(cupy_device().milliseconds(self.cupy, end.cupy)) * 1e-3


def current_stream() -> Stream:
    """The stream that work is enqueued on now."""
    return Stream(of=cupy_device().current_stream())


def stream(s: Stream) -> Stream:
    """`with weft.cuda.stream(s)` is `with s`, as in PyTorch."""
    return s


# ---- memory


def memory_allocated(device: int | str | None = None) -> int:
    """Bytes that arrays take on a GPU, rounded up to the pool's 512."""
    return int(cupy_device().memory(number(device))["used"])


def memory_reserved(device: int | str | None = None) -> int:
    """Bytes that the pool holds on a GPU: of arrays, and free for the next ones."""
    return int(cupy_device().memory(number(device))["held"])


def max_memory_reserved(device: int | str | None = None) -> int:
    """The most bytes that the pool held at once, since the start or the last `reset_peak_memory`."""
    return int(cupy_device().memory(number(device))["peak"])


def reset_peak_memory(device: int | str | None = None) -> None:
    """Let `max_memory_reserved` begin anew."""
    cupy_device().reset_peak(number(device))


def empty_cache(device: int | str | None = None) -> None:
    """Give memory that the pool holds and no array uses back to the GPU, for other programs."""
    cupy_device().release(number(device))


def memory_summary(device: int | str | None = None) -> str:
    """What a GPU's memory is used for, in a few lines.

    >>> print(weft.cuda.memory_summary())   # doctest: +SKIP
    cuda:0, NVIDIA H100 80GB HBM3
      arrays          12.50 GiB
      held by Weft    14.00 GiB, at most 15.25 GiB so far
      other programs   0.60 GiB
      free            64.50 GiB of 79.10 GiB
    """
    it, found = cupy_device(), number(device)
    size = it.memory(found)
    other = max(0, size["total"] - size["free"] - size["held"])
    rows = [
        ("arrays", it.text(size["used"]), ""),
        ("held by Weft", it.text(size["held"]), f", at most {it.text(size['peak'])} so far"),
        ("other programs", it.text(other), ""),
        ("free", it.text(size["free"]), f" of {it.text(size['total'])}"),
    ]
    return "\n".join([f"cuda:{found}, {it.name(found)}", *(f"  {a:15s} {b:>10s}{c}" for a, b, c in rows)])
