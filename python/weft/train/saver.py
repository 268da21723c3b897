"""When a run saves itself, what that costs, and how it goes on after a full disk."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from weft.io import CheckpointError, CheckpointWarning
from weft.io.durable import remove_leftovers
from weft.train.checkpoints import CheckpointStore
from weft.train.journal import Journal
from weft.train.progress import Progress

SHARE = 0.01  # of the time, at most, where nobody says how often
SECONDS = 5.0  # at least, between two


class Saver:
    """The checkpoints of the run in `out`, one every so many steps or seconds.

    With neither given the interval follows the measured cost, so that saving takes at most SHARE of the time.
    """

    def __init__(self, out: Path, journal: Journal, progress: Progress, steps: int | None, seconds: float | None):
        if (steps is not None and steps < 1) or (seconds is not None and seconds < 0):
            raise ValueError("Trainer: expected checkpoint_steps >= 1 and checkpoint_seconds >= 0, "
                             f"got {steps} and {seconds}")  # fmt: skip
        self.out, self.journal, self.progress, self.steps, self.seconds = out, journal, progress, steps, seconds
        self.store = CheckpointStore(out / "checkpoints")
        self.begin()

    def begin(self) -> None:
        self.last, self.cost = time.perf_counter(), 0.0
        self.saved: Hashable = None  # what the newest checkpoint of this process holds

    def open(self, resume: bool) -> dict[str, Any] | None:
        """The state to resume from, None to begin; ValueError if a run is there that is not to be resumed."""
        self.begin()
        self.out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.out)
        found = self.store.load() if resume else None
        if found is not None:
            return found[0]
        if self.store.files():
            raise ValueError(f"fit: expected an empty folder, got {self.out}, which holds a run; "
                             "continue it with resume=True, or choose another `out`")  # fmt: skip
        self.journal.restore(b"")
        return None

    def due(self, step: int) -> bool:
        if self.steps is not None:
            return step % self.steps == 0
        # The first step is saved at once: it shows what saving costs, and that it works.
        wait = 0.0 if self.saved is None and step == 1 else self.interval()
        return time.perf_counter() - self.last >= wait

    def interval(self) -> float:
        """Seconds from one checkpoint to the next."""
        return self.seconds if self.seconds is not None else max(SECONDS, self.cost / SHARE)

    def save(self, state: Callable[[], dict[str, Any]], step: int, place: Hashable) -> bool:
        """Take a checkpoint unless the newest has this `step` and `place`; False, with a warning, if it failed."""
        if self.saved == (step, place):
            return True
        begun = time.perf_counter()
        try:
            size = self.store.save(state(), step)
        except CheckpointError as error:
            self.last = time.perf_counter()
            older = [f"the newest is of step {old}; " for old, _ in self.store.files()[-1:]]
            text = f"no checkpoint of step {step}: {error}; {''.join(older)}training goes on"
            warnings.warn(CheckpointWarning(text), stacklevel=3)
            return False
        self.journal.acknowledge(step)
        first, self.saved, self.last = self.saved is None, (step, place), time.perf_counter()
        self.cost = self.last - begun
        if first:
            self.progress.say(self.describe(size))
        return True

    def describe(self, size: int) -> str:
        text = f"a checkpoint ({size / 1e6:.1f} MB) takes {self.cost * 1e3:.0f} ms; "
        if self.steps is not None:
            return text + f"one every {self.steps} steps"
        share = self.cost / max(self.interval(), self.cost)
        return text + f"one every {self.interval():g} s costs {share:.1%} of the time"
