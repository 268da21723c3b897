"""What kernels cannot raise: they note it in a word of their stream, and it becomes an exception when the host waits.

    launch(take, ..., (out, x, indices, ..., *flags.raising("index", device, "take: expected ..., got {value}")))
    flags.check(device)     # IndexError: take: expected ..., got 17

A word is 16 bytes: kind and message number, and the value that did not fit. The first note wins (kernels/flags.cuh).
`check` is part of `item`, `numpy` and `synchronize`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.backends.capturing import state as capturing

KINDS: dict[str, type[Exception]] = {"index": IndexError, "label": IndexError, "non-finite": FloatingPointError}
NUMBERS = {kind: number for number, kind in enumerate(KINDS, 1)}
MESSAGES = 1 << 16  # those in use at once; the oldest give their number away

messages: list[str] = []
numbers: dict[str, int] = {}
words: dict[tuple[str, int], Any] = {}  # (device, stream) -> uint64 (2,)
handed_out: set[tuple[str, int]] = set()  # words that kernels have seen since they were last read
replaced = 0


def stream_of(device: str) -> int:
    """The address of the current stream of a device."""
    if device == "emulated":
        return 0
    import cupy

    return int(cupy.cuda.get_current_stream().ptr)


def raising(kind: str, device: str, message: str) -> tuple[Any, int]:
    """The last two arguments of a kernel that may note `message`: the flag word of its stream, and what to write.

    kind: "index", "label" or "non-finite". "{value}" in the message becomes the value that the kernel notes.
    """
    global replaced
    recorder = capturing.recorder
    key = (device, stream_of(device) if recorder is None or device == "emulated" else recorder.stream)
    if recorder is not None:
        recorder.flags.add(key)
    word = words.get(key)
    if word is None:
        from weft.backends.gpu.array import empty

        word = words[key] = empty((2,), np.uint64, device)
        word.set(np.zeros(2, np.uint64))
    handed_out.add(key)
    number = numbers.get(message)
    if number is None:
        if len(messages) < MESSAGES:
            number = len(messages)
            messages.append(message)
        else:
            number, replaced = replaced % MESSAGES, replaced + 1
            del numbers[messages[number]]
            messages[number] = message
        numbers[message] = number
    return word, NUMBERS[kind] << 32 | number


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
        what, value = read(words[key])
        if what:
            words[key].set(np.zeros(2, np.uint64))
            kind = list(KINDS.values())[(what >> 32) - 1]
            raise kind(messages[what & 0xFFFFFFFF].replace("{value}", str(value)))


def read(word: Any) -> tuple[int, int]:
    """(what, value) of a word."""
    if word.device_name == "emulated":
        host = word.memory
    else:
        import cupy

        host = cupy.ndarray.get(word)
    return int(host[0]), int(host.view(np.int64)[1])
