"""Averages of models over training: equal weights, or an exponential moving average; with PyTorch's names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from weft.autograd import Tensor, no_grad
from weft.backends.device import place
from weft.nn.module import Module
from weft.nn.norm import BatchNorm
from weft.nn.parameter import Buffer

Average = Callable[[Any, Any, int], Any]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay average + (1 - decay) new: an average over about the last 1 / (1 - decay) updates."""
    check_decay("get_ema_avg_fn", decay)
    return lambda averaged, new, n: averaged + (new - averaged) * (1 - decay)


def get_swa_avg_fn() -> Average:
    """The mean of all that has been seen.  Izmailov et al., 2018."""
    return lambda averaged, new, n: averaged + (new - averaged) / (n + 1)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[list[Any], list[Any], int], None]:
    """As get_ema_avg_fn, for lists of Tensors, written in place."""
    return for_lists(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[[list[Any], list[Any], int], None]:
    """As get_swa_avg_fn, for lists of Tensors, written in place."""
    return for_lists(get_swa_avg_fn())


def for_lists(average: Average) -> Callable[[list[Any], list[Any], int], None]:
    def update(averaged: list[Any], new: list[Any], n: int) -> None:
        for old, value in zip(averaged, new, strict=True):
            old.assign(average(old.detach(), value.detach(), n), by="AveragedModel.update_parameters")

    return update


def check_decay(name: str, decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueError(f"{name}: expected decay in [0, 1], got {decay}")


class AveragedModel(Module):
    """A copy of a model whose parameters are averages: call `update_parameters(model)` after each step.

    avg_fn(averaged, new, how many came before) -> the new average, of one Tensor; or multi_avg_fn(averages, new ones,
    how many), which writes lists; by default the mean. use_buffers: average buffers too; else they are copied. The copy
    is `module`; state names are n_averaged and "module." with the model's.

    >>> from weft import nn
    >>> model = nn.Linear(2, 1)
    >>> average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    >>> average.update_parameters(model)
    >>> bool((average.module.weight == model.weight).all())
    True
    """

    def __init__(
        self,
        model: Module,
        device: str | None = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Callable[[list[Any], list[Any], int], None] | None = None,
        use_buffers: bool = False,
    ):
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: expected avg_fn or multi_avg_fn, got both")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.n_averaged = Buffer(np.array(0, np.int64))
        self.multi_avg_fn = multi_avg_fn or for_lists(avg_fn or get_swa_avg_fn())
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters into the average; the first time they are copied, and integers always."""
        by, n = "AveragedModel.update_parameters", int(self.n_averaged.data)
        mixed: list[tuple[Tensor, Tensor]] = []
        copied: list[tuple[Tensor, Tensor]] = []
        for old, new in beside(self.averaged(self.module), self.averaged(model)):
            (mixed if n and old.dtype.kind not in "biu" else copied).append((old, new))
        if not self.use_buffers:
            copied += beside(self.module.buffers(), model.buffers())
        with no_grad():
            if mixed:
                self.multi_avg_fn([old for old, _ in mixed], [new for _, new in mixed], n)
            for old, new in copied:
                old.assign(new, by=by)
        self.n_averaged.assign(np.array(n + 1), by=by)

    def averaged(self, model: Module) -> list[Tensor]:
        return [*model.parameters(), *(model.buffers() if self.use_buffers else ())]


def beside(averages: Iterable[Tensor], values: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each average with its new value, on the average's device."""
    return [(old, Tensor(place(new.data, old.device))) for old, new in zip(averages, values, strict=True)]


def update_bn(loader: Iterable[Any], model: Module, device: str | None = None) -> None:
    """Compute the running statistics of all batch norms anew, in one pass over `loader`, whose batches or whose first
    elements are the model's input. The model's mode and the momenta stay as they were."""
    from weft import ops

    norms = [m for m in model.modules() if isinstance(m, BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    modes, momenta = [(m, m.training) for m in model.modules()], [m.momentum for m in norms]
    try:
        model.train()
        for norm in norms:
            for buffer, start in ((norm.running_mean, 0), (norm.running_var, 1), (norm.num_batches_tracked, 0)):
                if buffer is not None:
                    buffer.assign(ops.full_like(buffer, start), by="update_bn")
            norm.momentum = None
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else ops.asarray(x, device=device))
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode
