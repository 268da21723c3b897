"""Why a run stops before its end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: start again later


class NonFiniteError(RuntimeError):
    """A loss or gradient that is NaN or infinite; the step was not taken, and the parameters are those before it."""


class Interrupted(SystemExit):
    """A signal asked the run to stop; its state is saved. Exits the process with code 75 unless caught.

    >>> try:
    ...     raise weft.train.Interrupted("SIGTERM")
    ... except SystemExit as stop:
    ...     print(stop.code)
    75
    """

    def __init__(self, text: str):
        super().__init__(EXIT_INTERRUPTED)
        self.text = text

    def __str__(self) -> str:
        return self.text


class StopNow(Exception):
    """Leaves the loop between two steps, or an evaluation between two batches."""


class Signals:
    """While this context is open, SIGTERM and the first Ctrl-C only set `caught`; a second does what it always does.

    A handler runs between any two bytecodes, perhaps inside a step or a save, so it must not do more than that.
    """

    def __init__(self) -> None:
        self.caught: str | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.caught = signal.Signals(number).name
        signal.signal(number, self.before[number])

    def check(self) -> None:
        """Raise StopNow if a signal has come."""
        if self.caught:
            raise StopNow
