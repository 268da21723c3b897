"""What kernels cannot raise: they note it in a word of their stream, and it becomes an exception when the host waits.

    launch(take, ..., (out, x, indices, ..., *flags.raising(IndexError, device, "take: expected ...", (3, 4))))
    flags.check(device)     # IndexError: take: expected ..., got 17 at position (2, 1)

A word is 24 bytes: the number of a message, the value that did not fit, and its position. The first note wins
(kernels/flags.cuh). `check` is part of `item`, `numpy` and `synchronize`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from weft.backends.capturing import state as capturing
from weft.backends.checks import index_in

INT64 = np.dtype(np.int64)
MESSAGES = 1 << 16  # those in use at once; the oldest give their number away


class Note(NamedTuple):
    """What an exception says of a value that a kernel notes."""

    error: type[Exception]
    message: str
    shape: tuple[int, ...]
    """Of the array that the position is counted in."""
    dtype: np.dtype[Any]
    """Of the value: uint64 is noted in the same bits, what is real as float64."""

    def of(self, value: int, position: int) -> Exception:
        kind = self.dtype.kind
        exact = np.int64(value).view(np.int64 if kind in "bi" else np.uint64 if kind == "u" else np.float64)
        text = str(exact.astype(self.dtype))
        return self.error(f"{self.message}, got {text} at position {index_in(self.shape, position)}")


notes: list[Note] = []
numbers: dict[Note, int] = {}
words: dict[tuple[str, int], Any] = {}  # (device, stream) -> uint64 (3,)
handed_out: set[tuple[str, int]] = set()  # words that kernels have seen since they were last read
replaced = 0


def stream_of(device: str) -> int:
    """The address of the current stream of a device."""
    if device == "emulated":
        return 0
    import cupy

    return int(cupy.cuda.get_current_stream().ptr)


def raising(
    error: type[Exception], device: str, message: str, shape: tuple[int, ...], dtype: np.dtype[Any] = INT64
) -> tuple[Any, int]:
    """The last two arguments of a kernel that may note a value: the flag word of its stream, and what to write.

    The exception says `message`, the value, and its position in an array of `shape`; dtype: as in Note.
    """
    global replaced
    recorder = capturing.recorder
    key = (device, stream_of(device) if recorder is None or device == "emulated" else recorder.stream)
    if recorder is not None:
        recorder.flags.add(key)
    word = words.get(key)
    if word is None:
        from weft.backends.gpu.array import empty

        word = words[key] = empty((3,), np.uint64, device)
        word.set(np.zeros(3, np.uint64))
    handed_out.add(key)
    note = Note(error, message, shape, dtype)
    number = numbers.get(note)
    if number is None:
        if len(notes) < MESSAGES:
            number = len(notes)
            notes.append(note)
        else:
            number, replaced = replaced % MESSAGES, replaced + 1
            del numbers[notes[number]]
            notes[number] = note
        numbers[note] = number
    return word, number + 1


def check(device: str, every_stream: bool = False) -> None:
    """Raise what kernels have noted, on the current stream of a device or on all its streams, and forget it.

    Waits for the stream if kernels have seen its word since the last time.
    """
    keys = [key for key in handed_out if key[0] == device]
    if keys and not every_stream:
        stream = stream_of(device)
        keys = [key for key in keys if key[1] == stream]
    for key in keys:
        handed_out.discard(key)
        what, value, position = read(words[key])
        if what:
            words[key].set(np.zeros(3, np.uint64))
            raise notes[what - 1].of(value, position)


def read(word: Any) -> tuple[int, int, int]:
    """What a word holds: (what, value, position)."""
    if word.device_name == "emulated":
        host = word.memory
    else:
        import cupy

        host = cupy.ndarray.get(word)
    what, value, position = host.view(np.int64).tolist()
    return what, value, position
