"""Callbacks with Keras's names: code at fixed points of fit, evaluate and predict."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weft.keras.progress import ProgbarLogger


class Callback:
    """Base: override what is needed. `self.model` is the model, `self.params` has epochs and steps.

    >>> from weft import keras
    >>> class Say(keras.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, sorted(logs))
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Any = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Any = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After an epoch and its validation; `logs` has its figures."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a step, counted from 0 in its epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a step; `logs` has the epoch's figures so far."""

    def on_test_begin(self, logs: Any = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Any = None) -> None:
        """After an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """Before predictions."""

    def on_predict_end(self, logs: Any = None) -> None:
        """After predictions."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of predictions."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of predictions."""


class History(Callback):
    """The figures of each epoch, what `fit` returns: `history` is name -> list, `epoch` their numbers.

    >>> from weft import keras
    >>> keras.callbacks.History().history
    {}
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


class CallbackList:
    """Calls each of several callbacks, those alone that have something to do at a point."""

    def __init__(self, callbacks: Any, model: Any, verbose: Any, testing: bool = False, **params: Any):
        given = callbacks if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]
        wrong = [type(c).__name__ for c in given if not isinstance(c, Callback)]
        if wrong:
            raise TypeError(f"callbacks: expected objects of keras.callbacks, got {', '.join(wrong)}")
        verbose = 1 if verbose in ("auto", True) else int(verbose)
        self.history = next((c for c in given if isinstance(c, History)), History())
        self.callbacks: list[Any] = [*given, *([self.history] if self.history not in given and not testing else [])]
        if verbose:
            self.callbacks.append(ProgbarLogger(verbose, testing))
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params | {"verbose": verbose})
        self.acting = {name: [getattr(c, name) for c in self.callbacks if overrides(c, name)] for name in HOOKS}

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in HOOKS:
            raise AttributeError(f"CallbackList: no attribute {name!r}")
        acting = self.acting[name]

        def act(*args: Any) -> None:
            for method in acting:
                method(*args)

        self.__dict__[name] = act
        return act


def overrides(callback: Any, name: str) -> bool:
    own = getattr(callback, name)
    return getattr(own, "__func__", own) is not vars(Callback)[name]


class Monitoring(Callback):
    """What the callbacks share that watch one figure. mode: "min", "max", or "auto", by the figure's name."""

    def watch(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: expected mode auto, min or max, got {mode!r}")
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)

    @property
    def up(self) -> bool:
        """Whether more is better: as `mode` says, a loss's is less, and a metric knows its own."""
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name.endswith("loss"):
            return False
        compiled = self.model.compiled_with
        direction = next((m.direction for label, _, m, _ in compiled.metrics if label == name), None)
        if direction is None:
            raise ValueError(f"{type(self).__name__}: expected mode 'min' or 'max' with monitor={self.monitor!r}, of "
                             "which nothing says whether more is better; got 'auto'")  # fmt: skip
        return bool(direction == "up")

    def better(self, value: float, best: float | None) -> bool:
        if self.up:
            return value - self.min_delta > (-math.inf if best is None else best)
        return value + self.min_delta < (math.inf if best is None else best)

    def figure(self, logs: Mapping[str, Any] | None, each: bool = False) -> float | None:
        """The figure that is watched, None in an epoch without validation unless `each`; KeyError lists those there
        are.
        """
        logs = logs or {}
        if self.monitor in logs:
            return float(logs[self.monitor])
        validated = any(name.startswith("val_") for name in logs)
        if self.monitor.startswith("val_") and self.params.get("validation") and not validated and not each:
            return None
        hint = "; without validation data there are no val_ figures" if self.monitor.startswith("val_") else ""
        raise KeyError(f"{type(self).__name__}: expected monitor out of {', '.join(logs)}, got {self.monitor!r}{hint}")


class EarlyStopping(Monitoring):
    """Ends training when a figure has not improved by more than min_delta for `patience` epochs.

    baseline: what it must beat. restore_best_weights: end with the best epoch's. start_from_epoch: to count from.

    >>> from weft import keras
    >>> keras.callbacks.EarlyStopping(monitor="val_loss", patience=3).patience
    3
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0, patience: int = 0, verbose: int = 0, mode: str = "auto",
        baseline: float | None = None, restore_best_weights: bool = False, start_from_epoch: int = 0,
    ):  # fmt: skip
        self.watch(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Any = None) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: float | None = None
        self.best_weights = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = self.figure(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(Monitoring):
    """Writes the model, or its weights, to a .safetensors file after every epoch, or every save_freq batches.

    filepath: may hold {epoch} and the names of figures, as in "m-{epoch:02d}-{val_loss:.3f}.safetensors".
    save_best_only: where `monitor` improved alone.

    >>> from weft import keras
    >>> keras.callbacks.ModelCheckpoint("best.safetensors", save_best_only=True).monitor
    'val_loss'
    """

    def __init__(
        self, filepath: Any, monitor: str = "val_loss", verbose: int = 0, save_best_only: bool = False,
        save_weights_only: bool = False, mode: str = "auto", save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ):  # fmt: skip
        from weft.keras.saving import checked_path

        self.filepath = str(checked_path(filepath, "ModelCheckpoint"))
        if save_freq != "epoch" and not isinstance(save_freq, int):
            raise ValueError(f"ModelCheckpoint: expected save_freq 'epoch' or a number of batches, got {save_freq!r}")
        self.watch(monitor, mode)
        self.verbose, self.save_best_only, self.save_weights_only = verbose, save_best_only, save_weights_only
        self.save_freq, self.seen, self.epoch = save_freq, 0, 0
        self.best = initial_value_threshold

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        if self.save_freq != "epoch" and self.seen % self.save_freq == 0:
            self.write(self.epoch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self.write(epoch, logs or {})

    def write(self, epoch: int, logs: Mapping[str, Any]) -> None:
        if self.save_best_only:
            value = self.figure(logs, each=self.save_freq != "epoch")
            if value is None or not self.better(value, self.best):
                return
        path = self.filepath.format(epoch=epoch + 1, **logs)
        if self.save_best_only:
            if self.verbose:
                before = "none" if self.best is None else f"{self.best:.5f}"
                print(f"\nEpoch {epoch + 1}: {self.monitor} improved from {before} to {value:.5f}, "
                      f"saving model to {path}")  # fmt: skip
            self.best = value
        elif self.verbose:
            print(f"\nEpoch {epoch + 1}: saving model to {path}")
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)


class ReduceLROnPlateau(Monitoring):
    """Multiplies the learning rate by `factor` when a figure has not improved for `patience` epochs.

    cooldown: epochs to wait behind a change. min_lr: the least rate.

    >>> from weft import keras
    >>> keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2).factor
    0.5
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, verbose: int = 0, mode: str = "auto",
        min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ):  # fmt: skip
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: expected factor < 1, got {factor}")
        self.watch(monitor, mode, min_delta)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Any = None) -> None:
        self.wait, self.cooling = 0, 0
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value, optimizer = self.figure(logs), self.model.optimizer
        if isinstance(logs, dict):
            logs["learning_rate"] = optimizer.learning_rate  # the epoch's, before it is changed
        if value is None:
            return
        if self.cooling > 0:
            self.cooling, self.wait = self.cooling - 1, 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooling <= 0:
            self.wait += 1
            if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
                optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to "
                          f"{optimizer.learning_rate}.")  # fmt: skip
                self.cooling, self.wait = self.cooldown, 0


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch: `schedule(epoch, rate)`, or `schedule(epoch)`.

    >>> from weft import keras
    >>> callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        import inspect

        self.schedule, self.verbose = schedule, verbose
        parameters = inspect.signature(schedule).parameters.values()
        self.both = len([p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]) > 1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        rate = self.schedule(epoch, optimizer.learning_rate) if self.both else self.schedule(epoch)
        optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if isinstance(logs, dict):
            logs["learning_rate"] = self.model.optimizer.learning_rate


class CSVLogger(Callback):
    """Writes a line per epoch, its number and figures, to a CSV file.

    >>> from weft import keras
    >>> keras.callbacks.CSVLogger("log.csv").separator
    ','
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False):
        self.path, self.separator, self.append = Path(filename), separator, append
        self.columns: list[str] = []
        self.file: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        again = self.append and self.path.exists() and self.path.stat().st_size
        self.headed = bool(again)
        self.file = self.path.open("a" if self.append else "w", newline="")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = dict(logs or {})
        if not self.columns:
            later = self.params.get("validation") and not any(name.startswith("val_") for name in logs)
            found = [f"val_{name}" for name in logs if name != "learning_rate"] if later else []
            self.columns = [*logs, *found]  # validation may come in a later epoch
        writer = csv.writer(self.file, delimiter=self.separator)
        if not self.headed:
            writer.writerow(["epoch", *self.columns])
            self.headed = True
        writer.writerow([epoch, *(logs.get(name, "NA") for name in self.columns)])
        self.file.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self.file.close()


class LambdaCallback(Callback):
    """Functions as a callback.

    >>> from weft import keras
    >>> callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch))
    """

    def __init__(self, **functions: Any):
        unknown = [name for name in functions if name not in HOOKS]
        if unknown:
            raise TypeError(f"LambdaCallback: expected arguments among {', '.join(HOOKS)}, got {', '.join(unknown)}")
        for name, function in functions.items():
            if function is not None:
                self.__dict__[name] = function


class TerminateOnNaN(Callback):
    """Ends training, in place of an error, where the loss is NaN or infinite; the step is not taken.

    >>> from weft import keras
    >>> callback = keras.callbacks.TerminateOnNaN()
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            if self.raise_error:
                raise RuntimeError(f"TerminateOnNaN: batch {batch}: the loss is {loss}")
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True


class TensorBoard(Callback):
    """Writes the figures of each epoch to event files that TensorBoard reads, in `train` and `validation` of log_dir.

    update_freq: "epoch", or also every so many batches ("batch": each). histogram_freq: epochs between histograms of
    the weights. The model's graph: `weft.train.SummaryWriter.add_graph`.

    >>> from weft import keras
    >>> keras.callbacks.TensorBoard("logs").update_freq
    'epoch'
    """

    def __init__(self, log_dir: Any = "logs", histogram_freq: int = 0, write_graph: bool = True,
                 write_images: bool = False, write_steps_per_second: bool = False, update_freq: Any = "epoch",
                 profile_batch: Any = 0):  # fmt: skip
        if write_images or profile_batch:
            raise ValueError("TensorBoard: expected no write_images and no profile_batch; weft.profile shows the time")
        self.folder, self.histogram_freq = Path(log_dir), histogram_freq
        self.write_steps_per_second, self.update_freq = write_steps_per_second, update_freq
        self.writers: dict[str, Any] = {}
        self.steps = 0

    def writer(self, part: str) -> Any:
        from weft.train.tensorboard import SummaryWriter

        if part not in self.writers:
            self.writers[part] = SummaryWriter(self.folder / part)
        return self.writers[part]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun, self.steps_before = time.perf_counter(), self.steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        every = 1 if self.update_freq == "batch" else self.update_freq
        if isinstance(every, int) and self.steps % every == 0:
            for name, value in (logs or {}).items():
                if np.ndim(value) == 0:
                    self.writer("train").add_scalar(f"batch_{name}", value, self.steps)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0:
                part = "validation" if name.startswith("val_") else "train"
                self.writer(part).add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if rate is not None:
            self.writer("train").add_scalar("epoch_learning_rate", rate, epoch)
        if self.write_steps_per_second:
            speed = (self.steps - self.steps_before) / (time.perf_counter() - self.begun)
            self.writer("train").add_scalar("epoch_steps_per_second", speed, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for weight in self.model.weights:
                if np.isfinite(weight.numpy()).all():
                    self.writer("train").add_histogram(weight.path, weight, epoch)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        for writer in self.writers.values():
            writer.close()
        self.writers = {}


__all__ = ["CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History", "LambdaCallback",
           "LearningRateScheduler", "ModelCheckpoint", "ProgbarLogger", "ReduceLROnPlateau", "TensorBoard",
           "TerminateOnNaN"]  # fmt: skip
