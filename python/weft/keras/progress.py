"""What a person sees of `fit`: Keras's bar, redrawn on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

WIDTH = 20
EVERY = 0.1  # seconds between two drawings


class ProgbarLogger:
    """The bar of `verbose=1`, or the lines of `verbose=2`."""

    def __init__(self, verbose: int, testing: bool = False):
        self.verbose, self.testing = verbose, testing
        self.model: Any = None
        self.params: Mapping[str, Any] = {}
        self.live = sys.stdout.isatty()
        self.total: int | None = None
        self.inside = False  # an epoch of fit

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def begin(self, total: int | None) -> None:
        self.total, self.seen, self.begun, self.drawn = total, 0, time.perf_counter(), 0.0

    def draw(self, logs: Mapping[str, Any], end: bool) -> None:
        """The line as it is now."""
        spent, total = time.perf_counter() - self.begun, self.total if self.total is not None else self.seen
        if self.verbose != 1 and not end:
            return
        text = f"{self.seen}/{total if self.total is not None or end else 'Unknown'} "
        if self.verbose == 1:
            filled = WIDTH if end else int(WIDTH * self.seen / total) if total else 0
            text += "━" * filled + (f"\033[37m{'━' * (WIDTH - filled)}\033[0m" if not end else "") + " "
        else:
            text += "- "
        text += f"{spent:.0f}s " if self.verbose == 1 else f"{spent:.0f}s - "
        text += f"{per_step(spent / max(self.seen, 1))}/step"
        text += "".join(f" - {name}: {shown(value)}" for name, value in sorted(logs.items()))
        sys.stdout.write(("\r" if self.live and self.verbose == 1 else "") + text + ("\n" if end else ""))
        sys.stdout.flush()

    def step(self, logs: Mapping[str, Any] | None) -> None:
        self.seen += 1
        now = time.perf_counter()
        if self.live and self.verbose == 1 and now - self.drawn > EVERY:
            self.drawn = now
            self.draw(logs or {}, False)

    # ---- the points it is called at

    def on_train_begin(self, *_: Any) -> None:
        self.inside = True

    def on_train_end(self, *_: Any) -> None:
        self.inside = False

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        self.begin(self.params.get("steps"))
        print(f"Epoch {epoch + 1}/{self.params.get('epochs')}", flush=True)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.total = self.seen if self.total is None else self.total
        self.draw(logs or {}, True)

    def on_test_begin(self, *_: Any) -> None:
        if not self.inside:
            self.begin(self.params.get("steps"))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.inside:
            self.step(logs)

    def on_test_end(self, logs: Any = None) -> None:
        if not self.inside:
            self.draw(logs or {}, True)

    def on_predict_begin(self, *_: Any) -> None:
        self.begin(self.params.get("steps"))

    def on_predict_batch_end(self, *_: Any) -> None:
        self.step(None)

    def on_predict_end(self, *_: Any) -> None:
        self.draw({}, True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return nothing
        raise AttributeError(name)


def nothing(*_: Any) -> None:
    """What the bar does at the other points."""


def shown(value: Any) -> str:
    if np.ndim(value):
        return str(np.asarray(value))
    value = float(value)
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def per_step(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"
