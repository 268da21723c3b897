"""Dynamic loss scaling, for float16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends import reference as K
from weft.backends import writes
from weft.backends.array import OnDevice, device_of, namespace
from weft.backends.device import on_host, place
from weft.optim.optimizer import Optimizer


class GradScaler:
    """Multiplies a loss so that float16 gradients do not vanish, and leaves out the steps in which they overflow.

    The scale starts at `init_scale`; after a step with a gradient that is not finite it is multiplied by
    `backoff_factor`, after `growth_interval` good steps in a row by `growth_factor`. With enabled=False all methods
    pass things through. Names, defaults and behaviour are PyTorch's; bfloat16 has float32's range and needs none of it.
    Micikevicius et al., "Mixed precision training" (2018).

    >>> scaler = weft.GradScaler()                                # doctest: +SKIP
    >>> with weft.autocast("float16"): loss = criterion(model(x), y)   # doctest: +SKIP
    >>> scaler.scale(loss).backward()                             # doctest: +SKIP
    >>> scaler.unscale_(optimizer)           # only to clip, or to look at gradients   # doctest: +SKIP
    >>> scaler.step(optimizer)                                    # doctest: +SKIP
    >>> scaler.update()                                           # doctest: +SKIP
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if not (growth_factor > 1 and 0 < backoff_factor < 1 and init_scale > 0 and growth_interval >= 1):
            raise ValueError(
                "GradScaler: expected init_scale > 0, growth_factor > 1, 0 < backoff_factor < 1 and growth_interval "
                f">= 1, got {init_scale}, {growth_factor}, {backoff_factor} and {growth_interval}"
            )
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval, self.enabled = growth_interval, enabled
        self.scale_array: Any = np.asarray(init_scale, np.float32)  # (), on the device of the losses
        self.growth: Any = np.asarray(0, np.int32)  # good steps since the scale last changed
        self.found: dict[int, Any] = {}  # id of an optimizer -> int32 (): 1 where a gradient is not finite
        self.stepped: set[int] = set()

    # ---- one step

    def scale(self, outputs: Any) -> Any:
        """A loss, or a list or tuple of them, times the scale."""
        if not self.enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(x) for x in outputs])
        if not isinstance(outputs, Tensor):
            raise TypeError(f"GradScaler.scale: expected Tensors, got {type(outputs).__name__}")
        self.move_to(outputs.device)
        return outputs * Tensor(self.scale_array)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, in place, and note whether all are finite.

        RuntimeError when called twice before `update`, or after `step`.
        """
        if not self.enabled:
            return
        if id(optimizer) in self.found or id(optimizer) in self.stepped:
            when = "after step()" if id(optimizer) in self.stepped else "twice"
            raise RuntimeError(f"unscale_: expected one call for each optimizer before update(), got one {when}")
        grads = [p.grad for p in optimizer.parameters() if p.grad is not None]
        if not grads:
            raise RuntimeError("unscale_: expected gradients, got none: run backward first")
        if any(g.dtype == np.float16 for g in grads):
            raise ValueError("unscale_: expected gradients of float32 parameters, got float16; keep parameters float32")
        self.move_to(device_of(grads[0].data))
        arrays = [g.data for g in grads]
        K.scale_arrays(arrays, factor=namespace(self.scale_array).divide(1.0, self.scale_array))
        for g in grads:
            g.touch("GradScaler.unscale_")
        squares = K.sum_of_squares(arrays)
        squares = squares if isinstance(squares, OnDevice) else np.asarray(squares)
        _, _, self.found[id(optimizer)] = K.gradient_scale(squares, max_norm=None)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)`, unless a gradient is not finite: then parameters and state stay as they are.

        RuntimeError when called twice before `update`. No closures: they would run before the check.
        """
        if not self.enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("GradScaler.step: expected no closure, got one")
        if id(optimizer) in self.stepped:
            raise RuntimeError("GradScaler.step: expected update() after each step(), got a second step")
        if id(optimizer) not in self.found:
            self.unscale_(optimizer)
        self.stepped.add(id(optimizer))
        found = self.found[id(optimizer)]
        if isinstance(found, OnDevice):  # the device reads it, and the host goes on
            return optimizer.step(skip=Tensor(found), **kwargs)
        return None if int(found) else optimizer.step(**kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the scale to what the steps since the last update have found, or set it.

        RuntimeError where no optimizer has stepped.
        """
        if not self.enabled:
            return
        xp = namespace(self.scale_array)
        if new_scale is not None:
            xp.assign(self.scale_array, new_scale)
        else:
            if not self.found:
                raise RuntimeError("GradScaler.update: expected a step before it, got none")
            found, *others = self.found.values()
            for other in others:
                found = xp.logical_or(found, other)
            good = xp.add(self.growth, 1)
            full = xp.greater_equal(good, self.growth_interval)
            with np.errstate(over="ignore"):
                grown = xp.multiply(self.scale_array, float(self.growth_factor))
            grown = xp.where(xp.isfinite(grown), grown, self.scale_array)
            kept = xp.where(full, grown, self.scale_array)
            new = xp.where(found, xp.multiply(self.scale_array, float(self.backoff_factor)), kept)
            xp.assign(self.scale_array, new)
            xp.assign(self.growth, xp.where(xp.logical_or(found, full), 0, good))
            writes.record(self.growth, "GradScaler.update")
        writes.record(self.scale_array, "GradScaler.update")
        self.found.clear()
        self.stepped.clear()

    def move_to(self, device: str) -> None:
        if device_of(self.scale_array) != device:
            self.scale_array, self.growth = place(self.scale_array, device), place(self.growth, device)

    # ---- what it is

    def get_scale(self) -> float:
        """The scale; waits for the device. 1 when disabled."""
        return float(on_host(self.scale_array)) if self.enabled else 1.0

    def is_enabled(self) -> bool:
        return self.enabled

    def state_dict(self) -> dict[str, Any]:
        """Numbers that `load_state_dict` continues from; {} when disabled."""
        if not self.enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": int(on_host(self.growth)),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. RuntimeError for an empty one, which a disabled scaler gave."""
        if not self.enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler.load_state_dict: expected the state of an enabled scaler, got an empty one")
        self.growth_factor, self.backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self.growth_interval = int(state_dict["growth_interval"])
        for array, value in ((self.scale_array, state_dict["scale"]), (self.growth, state_dict["_growth_tracker"])):
            namespace(array).assign(array, value)

    def __repr__(self) -> str:
        return f"GradScaler(scale={self.get_scale()}, enabled={self.enabled})"
