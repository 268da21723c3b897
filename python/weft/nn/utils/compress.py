"""Small models: weights of least magnitude set to zero, and weights as 8-bit integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import beside, on_host
from weft.nn.module import Module

SCALE = ".int8_scale"


def matrices(model: Module, *, all_names: bool = False) -> dict[str, Any]:
    """The parameters that hold nearly all of a model: those of two axes and more; one shared once, or by each name."""
    named = model.named_parameters(remove_duplicate=not all_names)
    return {name: p for name, p in named if p.ndim >= 2 and p.dtype.kind in "fV"}


def prune_by_magnitude(model: Module, amount: float) -> dict[str, Any]:
    """Set the share `amount` of all weights to zero, those of least magnitude in the whole model; returns what is left.

    Parameters of one axis (biases, norms) stay. The masks, name -> bool array, serve `apply_masks` after each step of
    further training. ValueError unless 0 <= amount < 1.  Han et al., arXiv:1506.02626.

    >>> model = nn.Linear(10, 10)
    >>> masks = nn.utils.prune_by_magnitude(model, 0.9)
    >>> int(masks["weight"].sum()), int((model.weight.numpy() != 0).sum())
    (10, 10)
    """
    if not 0 <= amount < 1:
        raise ValueError(f"prune_by_magnitude: expected 0 <= amount < 1, got {amount}")
    sizes = {name: np.abs(on_host(p.data).astype(np.float32)) for name, p in matrices(model).items()}
    if not sizes:
        return {}
    every = np.concatenate([size.ravel() for size in sizes.values()])
    keep = np.ones(every.size, bool)
    keep[np.argsort(every, kind="stable")[: round(amount * every.size)]] = False
    ends = np.cumsum([size.size for size in sizes.values()])[:-1]
    masks = {n: part.reshape(sizes[n].shape) for n, part in zip(sizes, np.split(keep, ends), strict=True)}
    apply_masks(model, masks)
    return masks


def apply_masks(model: Module, masks: Mapping[str, Any]) -> None:
    """Set the weights to zero that `prune_by_magnitude` took away.

    >>> model = nn.Linear(2, 2)
    >>> nn.utils.apply_masks(model, {"weight": np.zeros((2, 2), bool)})
    >>> model.weight.numpy().any()
    np.False_
    """
    known = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in known or known[name].shape != mask.shape:
            got = f"{known[name].shape}" if name in known else "none of that name"
            raise ValueError(f"apply_masks: expected a parameter {name!r} {mask.shape}, got {got}")
        p = known[name]
        p.data[...] = p.data * beside(mask, p).astype(p.dtype)
        p.touch("apply_masks")


def int8_state_dict(model: Module) -> dict[str, Any]:
    """The state_dict with each weight matrix as int8 and a float32 scale for each of its rows, a quarter of the size.

    Row r of "w" is w[r] = w_int8[r] * scale[r], scale "w.int8_scale" (rows,) = the row's largest magnitude / 127:
    symmetric, so that 0 stays 0. Save it by `weft.save`, read it by `load_int8_state_dict`. Krishnamoorthi,
    arXiv:1806.08342, section 3.

    >>> state = nn.utils.int8_state_dict(nn.Linear(8, 4))
    >>> {name: value.dtype.name for name, value in state.items()}
    {'weight': 'int8', 'bias': 'float32', 'weight.int8_scale': 'float32'}
    """
    values = model.state_dict()
    state: dict[str, Any] = {name: on_host(v.data if isinstance(v, Tensor) else v) for name, v in values.items()}
    for name in matrices(model, all_names=True):
        weight = state[name].astype(np.float32)
        if not np.isfinite(weight).all():
            raise ValueError(f"int8_state_dict: expected finite weights, got others in {name}")
        rows = weight.reshape(len(weight), -1)  # (out, ...)
        scale = np.abs(rows).max(axis=1, initial=0) / np.float32(127)
        safe = np.where(scale == 0, np.float32(1), scale)
        state[name] = np.rint(rows / safe[:, None]).astype(np.int8).reshape(weight.shape)
        state[name + SCALE] = scale
    return state


def load_int8_state_dict(model: Module, state: Mapping[str, Any]) -> Any:
    """Load what `int8_state_dict` gave into a model of the same shape; errors as of `Module.load_state_dict`.

    >>> first, second = nn.Linear(8, 4), nn.Linear(8, 4)
    >>> nn.utils.load_int8_state_dict(second, nn.utils.int8_state_dict(first))
    Missing(missing_keys=[], unexpected_keys=[])
    >>> bool(abs(first.weight - second.weight).max() <= abs(first.weight).max() / 254 + 1e-7)
    True
    """
    wide: dict[str, Any] = {}
    for name, value in state.items():
        if name.endswith(SCALE):
            continue
        scale = state.get(name + SCALE)
        if scale is None:
            wide[name] = value
            continue
        if value.dtype != np.int8 or scale.shape != value.shape[:1]:
            got = f"{value.dtype} {value.shape} and {scale.shape}"
            raise ValueError(f"load_int8_state_dict: expected {name} int8 (rows, ...) and a scale (rows,), got {got}")
        wide[name] = value.astype(np.float32) * scale.reshape(-1, *[1] * (value.ndim - 1))
    return model.load_state_dict(wide)
