"""compile, fit, evaluate, predict: the part of a Model that trains it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor, no_grad
from weft.backends.device import host_copy
from weft.keras import optimizers
from weft.keras.batches import Batch, Batches, split
from weft.keras.callbacks import CallbackList, History, TerminateOnNaN
from weft.keras.compiled import Compiled
from weft.keras.layer import state
from weft.keras.symbols import leaves, mapped
from weft.keras.variables import device_of
from weft.train.stopping import NonFiniteError


def kept(t: Any) -> Any:
    """An output on the host, in memory of its own; texts are arrays already."""
    return t.copy() if isinstance(t, np.ndarray) else host_copy(t.data)


class Training:
    """What Model and Sequential know about training. `train_step(data)`, `test_step` and `predict_step` may be written
    anew in a subclass.
    """

    optimizer: Any = None
    compiled_with: Compiled | None = None
    stop_training = False

    def begin_training(self: Any) -> None:
        self.stop_training = False
        self.forgives_nan = False

    def compile(
        self: Any, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, metrics: Any = None,
        weighted_metrics: Any = None, run_eagerly: bool = False, steps_per_execution: int = 1,
        jit_compile: Any = "auto", auto_scale_loss: bool = True,
    ) -> None:  # fmt: skip
        """Say how to train: an optimizer, a loss (for several outputs a list, or a dict by output), metrics.

        loss_weights: factors of the outputs' losses. weighted_metrics: metrics that sample weights count in. The last
        four arguments are accepted and change nothing here: there is one way to run a step.
        """
        self.optimizer = optimizers.get(optimizer)
        if self.optimizer is None:
            raise ValueError("compile: expected an optimizer, got None")
        if isinstance(loss, str):
            from weft.keras.losses import TABLE

            if loss not in ("crossentropy", "ce"):
                TABLE.find(loss)  # a wrong name is refused now, not after the first batch
        self.compiled_with = Compiled(loss, loss_weights, metrics, weighted_metrics)
        self.compile_arguments = {"optimizer": self.optimizer, "loss": loss, "loss_weights": loss_weights,
                                  "metrics": metrics, "weighted_metrics": weighted_metrics}  # fmt: skip

    @property
    def compiled(self: Any) -> bool:
        return self.compiled_with is not None

    @property
    def metrics(self: Any) -> list[Any]:
        """The loss's mean and the metrics, as far as they are bound to outputs."""
        mine = self.compiled_with
        return [] if mine is None else [mine.total, *mine.trackers, *(metric for _, _, metric, _ in mine.metrics)]

    @property
    def metrics_names(self: Any) -> list[str]:
        return [] if self.compiled_with is None else list(self.compiled_with.results())

    def reset_metrics(self: Any) -> None:
        """Let the metrics begin anew."""
        if self.compiled_with is not None:
            self.compiled_with.reset()

    def get_metrics_result(self: Any) -> dict[str, Any]:
        return self.ready("get_metrics_result").results()

    def ready(self: Any, by: str) -> Compiled:
        if self.compiled_with is None:
            raise ValueError(f"{by}: expected a compiled model; call compile(optimizer=..., loss=...) first")
        return self.compiled_with

    # ---- one batch

    def compute_loss(self: Any, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
                     training: bool = True) -> Any:  # fmt: skip
        """The loss of a batch: that of `compile`, and what layers and regularizers add."""
        mine = self.ready("fit")
        if y is None and mine.given[0] is not None:
            raise ValueError("fit: expected labels y beside x, got none")
        if not mine.bound and y is not None:
            mine.bind(self, y, y_pred)
        total = mine.loss(y, y_pred, sample_weight) if y is not None else None
        weights = self.optimizer.variables if self.optimizer.inner is not None else self.weights
        penalties = [w.regularizer(w) for w in weights if w.regularizer is not None and w.requires_grad]
        for penalty in [*(state.losses or ()), *penalties]:
            penalty = penalty if penalty.ndim == 0 else ops.sum(penalty)
            total = penalty if total is None else total + penalty
        if total is None:
            raise ValueError("compile: expected a loss, or a layer that calls add_loss; got neither")
        return total

    def compute_metrics(self: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Let the metrics see a batch; the figures so far."""
        mine = self.ready("fit")
        if y is not None:
            mine.update(y, y_pred, sample_weight)
        return mine.results()

    def train_step(self: Any, data: Batch) -> dict[str, Any]:
        """One step on a batch (x, y, sample_weight): forward, loss, backward, update.  The figures so far."""
        x, y, weight = data
        y_pred = self(x, training=True)
        loss = self.compute_loss(x, y, y_pred, weight)
        if self.noted(loss, len(next(leaves(x)))):
            self.backward(loss)
        return self.compute_metrics(x, y, mapped(detached, y_pred), weight)

    def noted(self: Any, loss: Any, samples: int) -> bool:
        """Count a loss in, and refuse one that is not finite; False where that only ends the training."""
        value = loss.item()
        self.ready("fit").total.update_state(value, samples)
        if math.isfinite(value):
            return True
        if not self.forgives_nan:
            raise NonFiniteError(f"fit: step {self.optimizer.iterations + 1}: the loss is {value}. The step was not "
                                 "taken; weft.nanguard() names the op")  # fmt: skip
        return False

    def backward(self: Any, loss: Any) -> None:
        """Gradients of a loss, a step of the optimizer, and the constraints of the weights."""
        if self.optimizer.inner is None:
            self.optimizer.build([w for w in self.weights if w.trainable])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        for weight in self.optimizer.variables:
            if weight.constraint is not None:
                with no_grad():
                    weight.assign(weight.constraint(weight), by="constraint")

    def test_step(self: Any, data: Batch) -> dict[str, Any]:
        """A batch seen without learning from it."""
        x, y, weight = data
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, weight, training=False)
        self.ready("evaluate").total.update_state(loss.item(), len(next(leaves(x))))
        return self.compute_metrics(x, y, y_pred, weight)

    def predict_step(self: Any, data: Any) -> Any:
        """The outputs for a batch (x, ...)."""
        return self(data[0], training=False)

    def trained(self: Any, data: Batch) -> dict[str, Any]:
        before = state.training, state.losses
        state.training, state.losses = True, []
        try:
            return self.train_step(data)
        finally:
            state.training, state.losses = before

    def tested(self: Any, data: Batch) -> dict[str, Any]:
        before, state.losses = state.losses, []
        try:
            with no_grad():
                return self.test_step(data)
        finally:
            state.losses = before

    # ---- epochs

    def fit(
        self: Any, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1, verbose: Any = "auto",
        callbacks: Any = None, validation_split: float = 0.0, validation_data: Any = None, shuffle: bool = True,
        class_weight: Mapping[Any, float] | None = None, sample_weight: Any = None, initial_epoch: int = 0,
        steps_per_epoch: int | None = None, validation_steps: int | None = None,
        validation_batch_size: int | None = None, validation_freq: Any = 1,
    ) -> History:  # fmt: skip
        """Train for `epochs`; returns a History, whose `history` has a list of figures per name.

        x, y: arrays of one length (lists or dicts of them where the model has several inputs or outputs), or x alone: a
        `weft.data.DataLoader`, a PyDataset, or an iterator of batches (x, y) or (x, y, sample_weight). batch_size: 32
        by default. verbose: 0 nothing, 1 a bar, 2 a line per epoch. validation_split: the last share of the arrays,
        before shuffling. validation_data: (x, y) or (x, y, sample_weight). class_weight: factors of the losses by
        label; sample_weight: by sample. steps_per_epoch: ends an epoch after so many batches, and goes on from there.
        validation_freq: validate after every so many epochs, or after those of a list, counted from 1.
        NonFiniteError where the loss is NaN or infinite, before the step is taken.
        """
        self.ready("fit")
        if not isinstance(epochs, int) or epochs < 1 or (batch_size is not None and batch_size < 1):
            raise ValueError(f"fit: expected epochs and batch_size >= 1, got {epochs} and {batch_size}")
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise ValueError(f"fit: expected steps_per_epoch >= 1, got {steps_per_epoch}")
        listed = isinstance(validation_freq, (list, tuple))
        if not listed and (not isinstance(validation_freq, int) or validation_freq < 1):
            raise ValueError(f"fit: expected validation_freq >= 1 or a list of epochs, got {validation_freq!r}")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split(x, y, sample_weight, validation_split)
        source = Batches(x, y, sample_weight, batch_size, shuffle, class_weight)
        validation = None
        if validation_data is not None:
            parts = list(validation_data) if isinstance(validation_data, (tuple, list)) else [validation_data]
            vx, vy, vw = parts + [None] * (3 - len(parts))
            validation = Batches(vx, vy, vw, validation_batch_size or batch_size, by="validation_data")
        steps = source.steps if steps_per_epoch is None else steps_per_epoch
        called = CallbackList(callbacks, self, verbose, epochs=epochs, steps=steps,
                              validation=validation is not None)  # fmt: skip
        self.stop_training = False
        self.forgives_nan = any(isinstance(callback, TerminateOnNaN) for callback in called.callbacks)
        stream: Iterator[Batch] | None = None
        called.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            self.reset_metrics()
            called.on_epoch_begin(epoch)
            if steps_per_epoch is None:
                stream = source.epoch(device_of(self))
            elif stream is None:
                stream = endless(source, device_of(self))
            logs: dict[str, Any] = {}
            step = -1
            for step, data in enumerate(stream):  # noqa: B007
                called.on_train_batch_begin(step)
                logs = self.trained(data)
                called.on_train_batch_end(step, logs)
                if self.stop_training or step + 1 == steps_per_epoch:
                    break
            if step < 0:
                raise ValueError("fit: expected at least one batch in each epoch, got none; an iterator can be gone "
                                 "through once")  # fmt: skip
            logs = plain(logs)
            due = epoch + 1 in validation_freq if listed else (epoch + 1) % validation_freq == 0
            if validation is not None and due:
                figures = self.measured(validation, validation_steps, called)
                logs |= {f"val_{name}": value for name, value in figures.items()}
            called.on_epoch_end(epoch, dict(sorted(logs.items())))
            if self.stop_training:
                break
        called.on_train_end()
        self.history = called.history
        return called.history

    def measured(self: Any, source: Batches, steps: int | None, called: Any = None) -> dict[str, Any]:
        """The figures over all batches."""
        self.reset_metrics()
        logs: dict[str, Any] = {}
        if called is not None:
            called.on_test_begin()
        for step, data in enumerate(source.epoch(device_of(self))):
            if called is not None:
                called.on_test_batch_begin(step)
            logs = self.tested(data)
            if called is not None:
                called.on_test_batch_end(step, logs)
            if step + 1 == steps:
                break
        if not logs:
            raise ValueError("evaluate: expected at least one batch, got none")
        if called is not None:
            called.on_test_end(logs)
        return plain(logs)

    def evaluate(
        self: Any, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: Any = "auto",
        sample_weight: Any = None, steps: int | None = None, callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """The loss, and the metrics where there are any: a number or a list (`metrics_names`), or a dict."""
        self.ready("evaluate")
        source = Batches(x, y, sample_weight, batch_size, by="evaluate")
        called = CallbackList(callbacks, self, verbose, epochs=1, steps=steps or source.steps, testing=True)
        logs = self.measured(source, steps, called)
        if return_dict:
            return logs
        values = list(logs.values())
        return values[0] if len(values) == 1 else values

    def predict(self: Any, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None,
                callbacks: Any = None) -> Any:  # fmt: skip
        """The outputs for all samples, as NumPy arrays."""
        source = Batches(x, None, None, batch_size, by="predict")
        called = CallbackList(callbacks, self, verbose, epochs=1, steps=steps or source.steps, testing=True)
        called.on_predict_begin()
        parts = []
        for step, data in enumerate(source.epoch(device_of(self))):
            called.on_predict_batch_begin(step)
            with no_grad():
                parts.append(mapped(kept, self.predict_step(data)))
            called.on_predict_batch_end(step)
            if step + 1 == steps:
                break
        called.on_predict_end()
        if not parts:
            raise ValueError("predict: expected at least one batch, got none")
        columns = iter([np.concatenate(arrays) for arrays in zip(*(list(leaves(part)) for part in parts))])
        return mapped(lambda _: next(columns), parts[0])

    # ---- single batches

    def train_on_batch(self: Any, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None,
                       return_dict: bool = False) -> Any:  # fmt: skip
        """One step on a batch; its loss and metrics, as `evaluate` returns them."""
        self.ready("train_on_batch")
        self.reset_metrics()
        return figures(self.trained(single(self, x, y, sample_weight, class_weight)), return_dict)

    def test_on_batch(self: Any, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """A batch seen without learning from it; its loss and metrics."""
        self.ready("test_on_batch")
        self.reset_metrics()
        return figures(self.tested(single(self, x, y, sample_weight, None)), return_dict)

    def predict_on_batch(self: Any, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        with no_grad():
            return mapped(kept, self.predict_step(single(self, x, None, None, None)))


def single(model: Any, x: Any, y: Any, weight: Any, class_weight: Any) -> Batch:
    source = Batches(x, y, weight, 2**31, class_weight=class_weight, by="train_on_batch")
    return next(source.epoch(device_of(model)))


def endless(source: Batches, device: str) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from source.epoch(device)
        if source.steps is None:
            return


def detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def plain(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as Python numbers."""
    return {k: float(v) if np.ndim(v) == 0 else np.asarray(v) for k, v in logs.items()}


def figures(logs: Mapping[str, Any], as_dict: bool) -> Any:
    logs = plain(logs)
    values = list(logs.values())
    return logs if as_dict else values[0] if len(values) == 1 else values
