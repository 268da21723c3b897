"""One optimizer step of a Trainer: forward, loss, backward, the checks of both, clipping, update."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

import weft
from weft.backends import reference as K
from weft.casting import autocast, check_dtype
from weft.nn.utils import clip_grad_norm_
from weft.optim import GradScaler

if TYPE_CHECKING:
    from weft.train.trainer import Trainer

MAX_SKIPPED = 25  # steps in a row that overflow float16: then it is no matter of the scale


class Step:
    """The steps of one Trainer.

    autocast: the dtype of products, or None; with float16 the loss is scaled, and steps that overflow are left out.
    """

    def __init__(self, trainer: Trainer, autocast: Any):
        self.trainer = trainer
        self.dtype = None if autocast is None else check_dtype("Trainer", autocast)
        self.scaler = GradScaler() if self.dtype == "float16" else None
        self.skipped = 0  # in a row

    def casting(self) -> Any:
        """The region that the model and the loss run in."""
        return contextlib.nullcontext() if self.dtype is None else autocast(self.dtype)

    def __call__(self, group: list[tuple[Any, ...]]) -> None:
        """One optimizer step over the mean gradient of the batches in `group`."""
        with contextlib.nullcontext() if self.scaler is None else np.errstate(over="ignore", invalid="ignore"):
            self.take(group)

    def take(self, group: list[tuple[Any, ...]]) -> None:
        it, scaler = self.trainer, self.scaler
        it.optimizer.zero_grad()
        losses = []
        for *inputs, targets in group:
            with self.casting():
                outputs = it.model(*inputs)
                loss = it.loss(outputs, targets)
            losses.append(self.check_loss(loss))
            scaled = loss if scaler is None else scaler.scale(loss)
            scaled.backward(weft.full(loss.shape, 1 / len(group), dtype=loss.dtype, device=loss.device))
            it.count(losses[-1], outputs, targets)
        if scaler is not None:
            scaler.unscale_(it.optimizer)
        norm = self.check_gradients()
        if scaler is None:
            it.optimizer.step()
        else:
            scaler.step(it.optimizer)
            scaler.update()
        if it.schedule is not None and it.schedule_every == "step":
            it.schedule.step()
        it.stepped(group, sum(losses) / len(losses), norm)

    def check_loss(self, loss: Any) -> float:
        if loss.size != 1:
            raise ValueError(f"Trainer: expected a loss of one number, got shape {loss.shape}; use reduction='mean'")
        value = float(loss.item())
        if not math.isfinite(value) and self.scaler is None:
            self.trainer.refuse(f"the loss is {value}")
        return value

    def check_gradients(self) -> float:
        """The norm of all gradients together, before they are clipped."""
        it = self.trainer
        parameters = [p for group in it.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            raise ValueError("Trainer: expected gradients after the first batch, got none: the optimizer has none of "
                             "the parameters that the loss depends on")  # fmt: skip
        norm = math.sqrt(K.sum_of_squares([p.grad.data for p in parameters]))
        if math.isfinite(norm):
            self.skipped = 0
            if it.clip_norm is not None and norm > it.clip_norm:
                clip_grad_norm_(parameters, it.clip_norm)
            return norm
        self.skipped += 1
        if self.scaler is None or self.skipped >= MAX_SKIPPED:
            names = {id(p): name for name, p in it.model.named_parameters()}
            wrong = [names.get(id(p), "?") for p in parameters if not weft.isfinite(p.grad).all().item()]
            if wrong:
                it.refuse(f"the gradient of {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''} is not finite")
        return norm

    # ---- what a checkpoint holds of it

    def state_dict(self) -> dict[str, Any] | None:
        return None if self.scaler is None else {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        if (state is None) != (self.scaler is None):
            raise ValueError(f"Trainer: expected autocast {'other than' if state is None else 'of'} 'float16', as in "
                             f"the run to resume, got {self.dtype}")  # fmt: skip
        if state is not None and self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
            self.skipped = state["skipped"]
