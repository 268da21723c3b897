"""The Trainer: the loop around a model, from the first batch to the files of a finished run.

A run goes step by step (an optimizer step, of one batch or of `accumulate`), and round by round (an epoch, or
`evaluate_every` steps), each of which ends in a validation and a record. A checkpoint can be taken between any two
steps and holds all that the rest depends on, so a resumed run computes the same bits.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import weft.random
from weft.autograd import no_grad
from weft.data import ArrayDataset, DataLoader
from weft.io import CheckpointError, CheckpointWarning, load, save
from weft.metrics import F1, MAE, MSE, R2, RMSE, Accuracy, ConfusionMatrix, Metric, Precision, Recall
from weft.train.callbacks import Callback, improves, monitored
from weft.train.idle import Idle
from weft.train.journal import Journal, Record
from weft.train.plots import draw_confusion, draw_curves
from weft.train.progress import Progress, describe
from weft.train.saver import Saver
from weft.train.step import Step
from weft.train.stopping import Interrupted, NonFiniteError, Signals, StopNow
from weft.train.tensorboard import TensorBoard

METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy, "precision": Precision, "recall": Recall, "f1": F1,
    "mae": MAE, "mse": MSE, "rmse": RMSE, "r2": R2,
}  # fmt: skip


class Trainer:
    """Trains a model: steps, validation, metrics, checkpoints, resuming.

    A batch is (*inputs, targets): the loss is `loss(model(*inputs), targets)`, one number, the mean over the batch.

    schedule: stepped after every step, or every round (schedule_every="round"). metrics: names (accuracy, precision,
    recall, f1, mae, mse, rmse, r2) or a dict name -> Metric. out: folder for metrics.jsonl, checkpoints/, curves.png,
    model.safetensors and `acknowledged`, the steps whose checkpoint is on the disk; None keeps everything in memory.
    clip_norm: largest norm of all gradients together. accumulate: batches per step.
    checkpoint_steps or checkpoint_seconds: how often to save; by default so often that it costs at most 1 % of the
    time, and the run prints both. restore_best: end with the weights of the round whose `monitor` (a key of the
    records) was best. log_every: a record every so many steps, too. describe: JSON to put into model.safetensors.
    device: where model and batches are moved to; by default the model stays, and batches go to where it is.
    tensorboard: a folder for TensorBoard's event files (True: `out`/tensorboard), see `TensorBoard` for more of it.
    autocast: "bfloat16" or "float16", in which products run (see `weft.autocast`); with float16 the loss is scaled.

    >>> trainer = Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), metrics=["accuracy"])  # doctest: +SKIP
    >>> trainer.fit(train_loader, validation_loader, epochs=5)                              # doctest: +SKIP
    >>> trainer.evaluate(test_loader)["accuracy"]                                           # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Any,
        *,
        schedule: Any = None,
        schedule_every: str = "step",
        metrics: Mapping[str, Metric] | Sequence[str] = (),
        out: Path | str | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        checkpoint_steps: int | None = None,
        checkpoint_seconds: float | None = None,
        monitor: str = "validation_loss",
        restore_best: bool = False,
        callbacks: Sequence[Callback] = (),
        log_every: int = 0,
        describe: Mapping[str, Any] | None = None,
        autocast: str | None = None,
        tensorboard: Path | str | bool = False,
        device: str | None = None,
        progress: bool = True,
    ):
        if schedule_every not in ("step", "round"):
            raise ValueError(f"Trainer: expected schedule_every 'step' or 'round', got {schedule_every!r}")
        if accumulate < 1 or log_every < 0 or (clip_norm is not None and not clip_norm > 0):
            raise ValueError("Trainer: expected accumulate >= 1, log_every >= 0 and clip_norm > 0, "
                             f"got {accumulate}, {log_every} and {clip_norm}")  # fmt: skip
        if restore_best and out is None:
            raise ValueError("Trainer: expected a folder `out` with restore_best=True, to keep the best weights in")
        self.model, self.optimizer, self.loss, self.schedule = model, optimizer, loss, schedule
        if device is not None:
            model.to(device=device)
        self.schedule_every, self.clip_norm, self.accumulate = schedule_every, clip_norm, accumulate
        self.metrics = named_metrics(metrics)
        self.out = None if out is None else Path(out)
        self.monitor, self.restore_best, self.callbacks = monitor, restore_best, list(callbacks)
        if tensorboard:
            if tensorboard is True:
                if self.out is None:
                    raise ValueError("Trainer: expected a folder `out` with tensorboard=True, to put its files in")
                tensorboard = self.out / "tensorboard"
            self.callbacks.append(TensorBoard(tensorboard))
        self.log_every, self.description = log_every, dict(describe or {})
        self.progress, self.journal = Progress(progress), Journal(self.out)
        self.saver: Saver | None = None
        if self.out is not None:
            self.saver = Saver(self.out, self.journal, self.progress, checkpoint_steps, checkpoint_seconds)
        self.signals: Signals | None = None
        self.train_step = Step(self, autocast)
        self.idle = Idle()
        # What a checkpoint holds beside the states of the objects above:
        self.step = 0
        self.first_epoch = 0
        self.round_due = False  # a round's steps are done, its validation is not
        self.loss_sum, self.samples = 0.0, 0  # of this round
        self.best: dict[str, Any] = {"value": None, "step": None}
        self.stopped = False
        self.seconds = 0.0

    @property
    def records(self) -> list[Record]:
        """Every line of metrics.jsonl so far."""
        return self.journal.records

    # ---- the loop

    def fit(
        self,
        train_loader: DataLoader,
        validation_loader: DataLoader | None = None,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        evaluate_every: int | None = None,
        resume: bool = False,
    ) -> list[Record]:
        """Train for `epochs`, or for `steps` optimizer steps, from the run's start; returns the records of its rounds.

        evaluate_every: end a round every so many steps instead of at each epoch's end. resume: continue from the newest
        checkpoint in `out`, where there is one. SIGTERM or Ctrl-C finishes the step, saves, and raises Interrupted
        (exit code 75). NonFiniteError names the step and the samples. CheckpointError if the final weights cannot be
        written; a full disk before that is only warned about.
        """
        if (epochs is None) == (steps is None) or (epochs or steps or 0) < 1 or (evaluate_every or 1) < 1:
            raise ValueError("fit: expected epochs or steps, and evaluate_every, of at least 1, "
                             f"got {epochs}, {steps} and {evaluate_every}")  # fmt: skip
        for loader in (train_loader, validation_loader):
            if not isinstance(loader, DataLoader | None):
                raise TypeError(f"fit: expected a DataLoader, got {type(loader).__name__}")
        if not len(train_loader):
            raise ValueError("fit: expected at least one batch in train_loader, got none")
        self.train_loader, self.validation_loader = train_loader, validation_loader
        self.epochs, self.steps, self.evaluate_every = epochs, steps, evaluate_every
        self.first_epoch = train_loader.epoch
        self.open(resume)
        self.begun = time.perf_counter() - self.seconds
        self.begin_round()
        with Signals() as self.signals:
            try:
                self.run()
                self.save()
            except StopNow:
                kept = self.save()
                text = f"stopped by {self.signals.caught} after step {self.step}: "
                if self.saver is not None:
                    text += "saved, to be resumed" if kept else "not saved; the checkpoint before is still there"
                self.progress.stop()
                self.progress.say(text)
                raise Interrupted(text) from None
            finally:
                self.progress.stop()
                self.signals = None
        self.close()
        return [record for record in self.records if record["event"] == "epoch"]

    def run(self) -> None:
        if self.round_due:
            self.end_round()
        while not self.finished():
            self.progress.start(len(self.train_loader), self.train_loader.resumed_at, self.goal())
            self.model.train()
            for group in self.groups():
                self.idle.begin(self.device())
                self.train_step(group)
                self.idle.end(self.device())
                self.after_step()
                if self.finished():
                    break
            else:
                if self.evaluate_every is None:
                    self.round_due = True
                    self.end_round()
            self.progress.stop()
        if self.samples:
            self.end_round()

    def finished(self) -> bool:
        if self.epochs is not None and self.train_loader.epoch - self.first_epoch >= self.epochs:
            return True
        return self.stopped or (self.steps is not None and self.step >= self.steps)

    def groups(self) -> Iterator[list[tuple[Any, ...]]]:
        """The batches of what is left of an epoch, `accumulate` at a time."""
        group: list[tuple[Any, ...]] = []
        for batch in self.fed(self.train_loader):
            group.append(self.placed(batch))
            if len(group) == self.accumulate or self.train_loader.position == len(self.train_loader):
                yield group
                group = []

    def device(self) -> str:
        """Where the model is."""
        first = next(iter(self.model.parameters()), None)
        return "cpu" if first is None else str(first.device)

    def fed(self, loader: DataLoader) -> Iterator[Any]:
        """A loader's batches, sent ahead to where the model is, unless the loader has a device of its own."""
        return loader.on(loader.device or self.device())

    def placed(self, batch: Any) -> tuple[Any, ...]:
        """A batch, checked, where the model is."""
        batch = check_batch(batch)
        first = next(iter(self.model.parameters()), None)
        return batch if first is None else tuple([t.to_device(first.device) for t in batch])

    def stepped(self, group: list[tuple[Any, ...]], loss: float, norm: float) -> None:
        """What is to be noted of a step that is done."""
        self.step += 1
        if self.log_every and self.step % self.log_every == 0:
            self.journal.add({"event": "step", "step": self.step, "loss": loss, "gradient_norm": norm,
                              "learning_rate": self.learning_rate()})  # fmt: skip
        self.progress.update(len(group), loss)

    def count(self, loss: float, outputs: Any, targets: Any) -> None:
        n = len(targets)
        self.loss_sum += loss * n
        self.samples += n
        self.round_seen += n
        for metric in self.metrics.values():
            metric.update(outputs, targets)

    def refuse(self, what: str) -> None:
        """Stop before the step is taken, and say on which samples."""
        loader = self.train_loader
        first = max(0, (loader.position - 1) // self.accumulate * self.accumulate)
        indices = np.concatenate([loader.indices(loader.epoch, number) for number in range(first, loader.position)])
        raise NonFiniteError(
            f"Trainer: step {self.step + 1} (epoch {loader.epoch}, batch {first}): {what}. Samples of the batch: "
            f"{indices.tolist()}. The parameters are those after step {self.step}; weft.nanguard() names the op"
        )

    def after_step(self) -> None:
        """What may happen between two steps: callbacks, the end of a round, a checkpoint, the end."""
        for callback in self.callbacks:
            callback.on_step(self)
        if self.evaluate_every is not None and self.step % self.evaluate_every == 0:
            self.round_due = True
            self.end_round()
            self.model.train()
        if self.signals is not None:
            self.signals.check()
        if self.saver is not None and self.saver.due(self.step):
            self.save()

    def begin_round(self) -> None:
        self.round_begun, self.round_seen = time.perf_counter(), 0
        self.idle.reset()

    def end_round(self) -> None:
        """Validate, write the round's record, and begin the next round."""
        trained, idle = time.perf_counter() - self.round_begun, self.idle.fraction()
        position = 0 if self.train_loader.position == 0 else self.train_loader.position / len(self.train_loader)
        record: Record = {"event": "epoch", "epoch": round(self.train_loader.epoch - self.first_epoch + position, 4)}
        record |= {"step": self.step, "loss": self.loss_sum / self.samples, **self.figures(self.metrics)}
        if self.validation_loader is not None:
            figures = self.validate(self.validation_loader)
            record |= {f"validation_{name}": value for name, value in figures.items()}
        record["learning_rate"] = self.learning_rate()
        self.seconds = time.perf_counter() - self.begun
        record |= {"seconds": self.seconds, "samples_per_second": self.round_seen / trained, "idle": idle}
        if self.schedule is not None and self.schedule_every == "round":
            self.schedule.step()
        if self.restore_best:
            self.keep_best(monitored("Trainer", self.monitor, record))
        self.journal.add(record)
        for callback in self.callbacks:
            callback.on_round(self, record)
        self.progress.say(describe(record, self.goal(record["epoch"])))
        self.loss_sum, self.samples, self.round_due = 0.0, 0, False
        for metric in self.metrics.values():
            metric.reset()
        self.begin_round()

    def goal(self, epoch: float | None = None) -> str:
        if self.steps is not None:
            return f"step {self.step}/{self.steps}"
        here = self.train_loader.epoch - self.first_epoch + 1 if epoch is None else epoch
        return f"epoch {here:g}/{self.epochs}"

    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    # ---- measuring

    def evaluate(self, loader: DataLoader, *, confusion: str = "", classes: Sequence[str] = ()) -> dict[str, Any]:
        """Loss and metrics over a loader, in eval mode, without gradients.

        confusion: name of a picture of the confusion matrix to draw (in `out`), `classes` its labels.
        """
        metrics: dict[str, Metric] = {name: metric.fresh() for name, metric in self.metrics.items()}
        matrix = ConfusionMatrix(len(classes) or None)
        loss_sum, samples = 0.0, 0
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                for batch in self.fed(loader):
                    if self.signals is not None:
                        self.signals.check()
                    *inputs, targets = self.placed(batch)
                    with self.train_step.casting():
                        outputs = self.model(*inputs)
                        loss = self.loss(outputs, targets)
                    loss_sum += float(loss.item()) * len(targets)
                    samples += len(targets)
                    for metric in [*metrics.values(), *([matrix] if confusion else [])]:
                        metric.update(outputs, targets)
        finally:
            self.model.train(was_training)
        if confusion:
            path = Path(confusion) if self.out is None else self.out / confusion
            names = list(classes) or [str(i) for i in range(len(matrix.compute()))]
            self.draw(lambda: draw_confusion(matrix.compute(), names, path), path)
        return {"loss": loss_sum / samples if samples else float("nan"), **self.figures(metrics)}

    def validate(self, loader: DataLoader) -> dict[str, Any]:
        """`evaluate`, which leaves no trace if a signal cuts it short: the resumed run does it again from its start."""
        position, numbers = loader.state_dict(), weft.random.get_state()
        try:
            return self.evaluate(loader)
        except StopNow:
            loader.load_state_dict(position)
            weft.random.set_state(numbers)
            raise

    def predict(self, inputs: Any, batch_size: int = 256) -> Any:
        """The model's outputs in eval mode, a NumPy array (N, ...).

        inputs: an array or Tensor (N, ...), or a DataLoader, whose targets (the last field of a batch) are left out.
        """
        if not isinstance(inputs, DataLoader):
            inputs = DataLoader(ArrayDataset(inputs, np.empty(len(inputs))), batch_size)
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad(), self.train_step.casting():
                parts = [self.model(*self.placed(batch)[:-1]).numpy() for batch in self.fed(inputs)]
        finally:
            self.model.train(was_training)
        if not parts:
            raise ValueError("predict: expected at least one sample, got none")
        return np.concatenate(parts)

    @staticmethod
    def figures(metrics: Mapping[str, Metric]) -> dict[str, Any]:
        return {name: metric.compute() for name, metric in metrics.items()}

    # ---- files

    def open(self, resume: bool) -> None:
        """Continue the run in `out`, or begin one there."""
        if self.saver is None:
            if resume:
                raise ValueError("fit: expected a folder `out` with resume=True, got None")
            return
        state = self.saver.open(resume)
        if state is not None:
            self.load_state_dict(state)
            self.progress.say(f"resumed after step {self.step}")

    def save(self) -> bool:
        """Take a checkpoint; True once the state after this step is on the disk, False (and a warning) if it is not."""
        self.idle.pause()
        self.seconds = time.perf_counter() - self.begun
        place = (len(self.records), self.round_due)
        return self.saver is not None and self.saver.save(self.state_dict, self.step, place)

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "autocast": self.train_step.state_dict(),
            "random": weft.random.get_state(),
            "train_loader": self.train_loader.state_dict(),
            "validation_loader": None if self.validation_loader is None else self.validation_loader.state_dict(),
            "metrics": {name: metric.state_dict() for name, metric in self.metrics.items()},
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "records": self.journal.dump(),
            "run": {name: getattr(self, name) for name in RUN_STATE},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; ValueError where model, optimizer or loaders are not those of the run."""
        for name in ("schedule", "validation_loader"):
            if (state[name] is None) != (getattr(self, name) is None):
                raise ValueError(f"Trainer: expected {'no' if state[name] is None else 'a'} {name}, as in the run to "
                                 f"resume, got {getattr(self, name)}")  # fmt: skip
        self.train_step.load_state_dict(state.get("autocast"))
        metrics, callbacks = list(state["metrics"]), len(state["callbacks"])
        if metrics != list(self.metrics) or callbacks != len(self.callbacks):
            raise ValueError(f"Trainer: expected metrics {metrics} and {callbacks} callbacks, as in the run to resume, "
                             f"got {list(self.metrics)} and {len(self.callbacks)}")  # fmt: skip
        self.train_loader.load_state_dict(state["train_loader"])
        if self.validation_loader is not None:
            self.validation_loader.load_state_dict(state["validation_loader"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        for name, metric in self.metrics.items():
            metric.load_state_dict(state["metrics"][name])
        for callback, saved in zip(self.callbacks, state["callbacks"]):
            callback.load_state_dict(saved)
        self.journal.restore(state["records"])
        for name in RUN_STATE:
            setattr(self, name, state["run"][name])
        weft.random.set_state(state["random"])

    def keep_best(self, value: float) -> None:
        """Write the weights if the round was the best so far.

        A run that is resumed from before its best round comes to it again, with the same bits; so the file need not be
        part of a checkpoint.
        """
        if self.out is not None and improves(self.monitor, value, self.best["value"]):
            self.best = {"value": value, "step": self.step}
            try:
                save(self.out / "best.safetensors", self.model.state_dict(), self.description | {"step": self.step})
            except CheckpointError as error:
                warnings.warn(CheckpointWarning(f"the best weights were not kept: {error}"), stacklevel=2)

    def close(self) -> None:
        """The end of a complete run: the best weights if wanted, and its files."""
        if self.restore_best and self.out is not None and self.best["step"] is not None:
            self.model.load_state_dict(load(self.out / "best.safetensors"))
        for callback in self.callbacks:
            callback.on_end(self)
        if self.out is None:
            return
        rounds = [record for record in self.records if record["event"] == "epoch"]
        self.draw(lambda: draw_curves(rounds, self.out / "curves.png", self.out.name), self.out / "curves.png")
        save(self.out / "model.safetensors", self.model.state_dict(), self.description | {"step": self.step})

    def draw(self, draw: Any, path: Path) -> None:
        try:
            draw()
        except ImportError:
            self.progress.say(f"{path.name}: not drawn, matplotlib is not installed (pip install matplotlib)")
        except OSError as error:
            warnings.warn(CheckpointWarning(f"{path} could not be written: {error}"), stacklevel=2)


RUN_STATE = ("step", "first_epoch", "round_due", "loss_sum", "samples", "best", "stopped", "seconds")


def named_metrics(metrics: Mapping[str, Metric] | Sequence[str]) -> dict[str, Metric]:
    if isinstance(metrics, Mapping):
        return dict(metrics)
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or isinstance(metrics, str):
        raise ValueError(f"Trainer: expected metrics out of {', '.join(METRICS)} or a dict, got {unknown or metrics!r}")
    return {name: METRICS[name]() for name in metrics}


def check_batch(batch: Any) -> tuple[Any, ...]:
    if not isinstance(batch, tuple) or len(batch) < 2:
        raise TypeError(f"Trainer: expected batches (*inputs, targets), got {type(batch).__name__}"
                        + (f" of {len(batch)}" if isinstance(batch, tuple) else ""))  # fmt: skip
    return batch
