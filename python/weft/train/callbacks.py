"""Code of the user's at fixed points of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.train.trainer import Trainer


class Callback:
    """Base: override what is needed. A callback that has state of its own returns it from `state_dict`, to be saved.

    The trainer's `step`, `records`, `model` and `optimizer` may be read; setting `trainer.stopped = True` ends the run
    after the current step.

    >>> class Print(weft.train.Callback):
    ...     def on_round(self, trainer, record):
    ...         print(record["loss"])
    >>> trainer = weft.train.Trainer(model, optimizer, loss, callbacks=[Print()])  # doctest: +SKIP
    """

    def on_step(self, trainer: Trainer) -> None:
        """After every optimizer step."""

    def on_round(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """After every epoch (or `evaluate_every` steps); `record` is its line in metrics.jsonl."""

    def on_end(self, trainer: Trainer) -> None:
        """When the run is complete."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class EarlyStopping(Callback):
    """End the run when a figure has not improved for `patience` rounds.

    monitor: a key of the records. A figure with "loss" in its name improves downwards, any other upwards, by more than
    `min_delta`. KeyError names the keys there are.

    >>> stop = weft.train.EarlyStopping(patience=3)
    >>> trainer = weft.train.Trainer(model, optimizer, loss, callbacks=[stop])  # doctest: +SKIP
    """

    def __init__(self, monitor: str = "validation_loss", patience: int = 5, min_delta: float = 0.0):
        if patience < 1 or min_delta < 0:
            raise ValueError("EarlyStopping: expected patience >= 1 and min_delta >= 0, "
                             f"got {patience} and {min_delta}")  # fmt: skip
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.best: float | None = None
        self.rounds = 0

    def on_round(self, trainer: Trainer, record: dict[str, Any]) -> None:
        value = monitored("EarlyStopping", self.monitor, record)
        if improves(self.monitor, value, self.best, self.min_delta):
            self.best, self.rounds = value, 0
            return
        self.rounds += 1
        if self.rounds >= self.patience:
            trainer.stopped = True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "rounds": self.rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.rounds = state["best"], state["rounds"]


def monitored(name: str, monitor: str, record: dict[str, Any]) -> float:
    value = record.get(monitor)
    if not isinstance(value, (int, float)):
        known = ", ".join(key for key, item in record.items() if isinstance(item, float))
        raise KeyError(f"{name}: expected monitor out of {known}, got {monitor!r}")
    return value


def improves(monitor: str, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Whether `value` is better than `best`; a NaN never is."""
    if best is None:
        return value == value
    return value < best - min_delta if "loss" in monitor else value > best + min_delta
