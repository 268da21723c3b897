"""The last linear layer of a classifier fused with its loss: logits of a large vocabulary never exist in full."""

from __future__ import annotations

from typing import Any

from weft.autograd import Tensor, op, state
from weft.backends import reference as K
from weft.backends.array import namespace
from weft.backends.reference.precision import narrow, wide
from weft.ops.activation import floating
from weft.ops.linalg import linear
from weft.ops.loss import as_target, check_reduction, cross_entropy, label_rows, reduced, weight_of_labels
from weft.ops.shape import reshape

NAME = "linear_cross_entropy"


@op(name="linear_cross_entropy")
def linear_cross_entropy_of_labels(
    x: Any, weight: Any, bias: Any, labels: Any, classes: Any, *, ignore_index: int, reduction: str,
    label_smoothing: float, chunk: int | None, wanted: tuple[bool, bool, bool], wide_loss: bool,
    shape: tuple[int, ...],
) -> Any:  # fmt: skip
    """linear_cross_entropy for rows x (N, D) and labels (N,); wide_loss: a loss of float32 from 16-bit inputs.

    shape: that of the labels as the caller knows them.
    """
    xp = namespace(x)
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing, "chunk": chunk}
    forward = {**options, "shape": shape}
    # One number that multiplies all gradients may come later: they are found on the way, while the logits are there.
    early = reduction != "none" and any(wanted) and not isinstance(x, Tensor)
    if early:
        found = K.linear_cross_entropy_gradients(x, weight, bias, labels, classes, wanted=wanted, **forward)
        losses, *gradients = found
    else:
        losses, lse = K.linear_cross_entropy(x, weight, bias, labels, classes, **forward)
    count = weight_of_labels(xp, labels, wide(classes), ignore_index) if reduction == "mean" else None
    out = reduced(xp, losses, reduction, count)

    def of_each(g: Any) -> Any:
        g = wide(g)
        return g if count is None else g / count

    def scaled(g: Any) -> Any:
        each = of_each(g)
        kinds = [x.dtype, weight.dtype, None if bias is None else bias.dtype]
        return (*[None if p is None else narrow(p * each, kind) for p, kind in zip(gradients, kinds)], None, None)

    def recomputed(g: Any) -> Any:
        xp = namespace(g)
        each = xp.reshape(of_each(g), (-1,))
        gx, gw, gb = K.linear_cross_entropy_backward(
            each, x, weight, bias, labels, classes, lse, wanted=wanted, **options
        )
        return gx, narrow(gw, weight.dtype), gb if gb is None else narrow(gb, bias.dtype), None, None

    return out if wide_loss else narrow(out, x.dtype), scaled if early else recomputed


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    linear_bias: Any = None,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    chunk_size: int | None = None,
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target), some rows of logits at a time.

    input (..., D), linear_weight (V, D), target (...) integers in [0, V), linear_bias (V,) or None -> losses (...), or
    a scalar under "mean" and "sum".  weight (V,) of each class takes no gradient; the others as in `cross_entropy`.
    chunk_size: rows whose logits exist at once; by default as many as suit the device.  A loss that is reduced finds
    its gradients in the forward pass, so logits are computed once; the gradients of linear_weight and linear_bias are
    summed in float32.  Probabilities (..., V) as target need all logits.
    IndexError names a label outside [0, V) and its position; ValueError where the shapes do not fit.
    Hsu et al., "Liger kernel" (2024).

    >>> import weft
    >>> weft.linear_cross_entropy(weft.ones((2, 3)), weft.ones((4, 3)), weft.asarray([1, 2])).item()
    1.3862943649291992
    """
    check_reduction(NAME, reduction)
    floating(input, NAME)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{NAME}: expected label_smoothing in [0, 1], got {label_smoothing}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"{NAME}: expected chunk_size of at least 1, got {chunk_size}")
    target = as_target(target, input)
    if target.dtype.kind not in "iu":
        logits = linear(input, linear_weight, linear_bias)
        options: Any = {"reduction": reduction, "label_smoothing": label_smoothing}
        return cross_entropy(logits, target, weight, ignore_index=ignore_index, **options)
    check_shapes(input, linear_weight, linear_bias, target, weight)
    labels = label_rows(namespace(target), target if target.ndim else reshape(target, (1,)), ignore_index)
    rows = input if input.ndim == 2 else reshape(input, (-1, input.shape[-1]))
    parameters = (input, linear_weight, linear_bias)
    wanted: Any = tuple([isinstance(p, Tensor) and p.requires_grad and state.recording for p in parameters])
    out = linear_cross_entropy_of_labels(
        rows, linear_weight, linear_bias, labels, weight, ignore_index=ignore_index, reduction=reduction,
        label_smoothing=label_smoothing, chunk=chunk_size, wanted=wanted, wide_loss=state.casting is not None,
        shape=target.shape,
    )  # fmt: skip
    return reshape(out, target.shape) if reduction == "none" and target.ndim != 1 else out  # type: ignore[no-any-return]


def check_shapes(x: Any, linear_weight: Any, linear_bias: Any, target: Any, weight: Any) -> None:
    if linear_weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != linear_weight.shape[1] or target.shape != x.shape[:-1]:
        raise ValueError(
            f"{NAME}: expected input (..., D), linear_weight (V, D) and integer labels (...), got {x.shape}, "
            f"{linear_weight.shape} and {target.dtype} {target.shape}"
        )
    for what, p in (("linear_bias", linear_bias), ("weight", weight)):
        if p is not None and p.shape != linear_weight.shape[:1]:
            raise ValueError(f"{NAME}: expected {what} {linear_weight.shape[:1]}, got {p.shape}")
