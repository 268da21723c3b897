"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft import ops
from weft.autograd import Tensor
from weft.backends.device import beside, on_host
from weft.nn.functional.loss_compositions import prepared
from weft.ops.ctc import NEVER, ctc_paths


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Minus the log-probability of each target, summed over all its alignments with the frames.

    log_probs (T, N, C): logarithms of probabilities, as log_softmax gives; targets (N, S), or one after the other
    (sum of target_lengths,), of integers in [0, C) but `blank`; input_lengths and target_lengths (N,), or tuples ->
    (N,), reduced: "mean" divides each loss by its target's length, at least 1, first. One sample: (T, C), (S,), () and
    () -> (). zero_infinity: 0, and no gradient, for a target that no alignment reaches; infinite otherwise. The lengths
    and targets are read by the host. ValueError where lengths do not fit, IndexError for a label out of range.

    The gradient is that of this function of log_probs. PyTorch's has exp(log_probs) added, which log_softmax takes off
    again: behind log_softmax both are the same.  Graves et al., 2006.

    >>> log_probs = F.log_softmax(weft.zeros((4, 1, 3)), dim=2)
    >>> F.ctc_loss(log_probs, weft.asarray([[1, 2]]), weft.asarray([4]), weft.asarray([2])).item()
    0.8431994915008545
    """
    name = "ctc_loss"
    (log_probs,), finished = prepared(name, reduction, log_probs)
    labels, frames, sizes = (host(name, what, x) for what, x in (
        ("targets", targets), ("input_lengths", input_lengths), ("target_lengths", target_lengths)))  # fmt: skip
    single = log_probs.ndim == 2
    if single:
        log_probs, labels, frames, sizes = log_probs[:, None], labels.reshape(1, -1), frames.ravel(), sizes.ravel()
    each = losses_of(name, log_probs, labels, frames, sizes, blank, zero_infinity)  # (N,)
    if reduction == "mean":
        each = each / Tensor(beside(np.maximum(sizes, 1).astype(each.dtype), each))
    return finished(each[0] if single else each)


def host(name: str, what: str, x: Any) -> Any:
    """Integers as a NumPy array, from wherever they are."""
    values = on_host(x.data) if isinstance(x, Tensor) else on_host(x)
    if values.dtype.kind not in "iu" and values.size:
        raise TypeError(f"{name}: expected integers as {what}, got {values.dtype}")
    return values.astype(np.int64)


def losses_of(name: str, x: Any, targets: Any, frames: Any, sizes: Any, blank: int, zero_infinity: bool) -> Any:
    """x (T, N, C), targets (N, S) or (sum,), frames (N,), sizes (N,) -> losses (N,)"""
    if x.ndim != 3 or frames.shape != x.shape[1:2] or sizes.shape != x.shape[1:2]:
        raise ValueError(
            f"{name}: expected log_probs (T, N, C), input_lengths (N,) and target_lengths (N,), "
            f"got {x.shape}, {frames.shape} and {sizes.shape}"
        )
    T, N, C = x.shape
    if not 0 <= blank < C:
        raise ValueError(f"{name}: expected blank in [0, {C}), got {blank}")
    if N and not (1 <= frames.min() and frames.max() <= T):
        raise ValueError(f"{name}: expected input_lengths from 1 to {T}, got {frames.min()} to {frames.max()}")
    longest = int(sizes.max(initial=0))
    flat = targets.ndim == 1
    if sizes.min(initial=0) < 0 or targets.shape != ((sizes.sum(),) if flat else (N, *targets.shape[1:2])) or (
        not flat and targets.shape[1] < longest
    ):  # fmt: skip
        raise ValueError(
            f"{name}: expected targets (N, S) or (sum of target_lengths,) for lengths {sizes.tolist()}, "
            f"got {targets.shape}"
        )
    labels = np.full((N, longest), blank)
    used = np.arange(longest) < sizes[:, None]  # (N, S)
    labels[used] = targets if flat else targets[:, :longest][used]
    bad = used & ((labels < 0) | (labels >= C) | (labels == blank))
    if bad.any():
        n, s = map(int, np.argwhere(bad)[0])
        raise IndexError(
            f"{name}: expected labels in [0, {C}) other than blank {blank}, got {labels[n, s]} at position {n, s}"
        )
    states = np.full((N, 2 * longest + 1), blank)  # blank, label, blank, label, ..., blank
    states[:, 1::2] = labels
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    place = np.arange(states.shape[1])
    ends = (place == 2 * sizes[:, None]) | (place == 2 * sizes[:, None] - 1)
    inside = np.arange(T)[:, None] < frames  # (T, N)
    emissions = ops.take_along_axis(x, beside(np.broadcast_to(states, (T, *states.shape)), x), axis=2)
    total = ctc_paths(emissions, skips=skips, frames=inside, ends=ends)
    reached = total.detach() > NEVER / 2
    return ops.where(reached, -total, 0.0 if zero_infinity else float("inf"))
