"""weft.explain: why a model answered as it did, as a map over its input.

attribution = weft.explain.integrated_gradients(model, images)     # how much each pixel added to the answer's score
heat = weft.explain.grad_cam(model, images, layer="4")             # where a convolution saw what speaks for it

Every function takes the model, a batch of inputs and `target`, the class to explain: a number, one per sample, or None
for the class that the model answers. The model is asked in evaluation mode and left as it was; no `.grad` is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weft import autograd, ops
from weft.autograd import Tensor, enable_grad, no_grad, to_array
from weft.backends.array import namespace
from weft.backends.device import beside, on_host
from weft.backends.reference.attention import softmax_scores
from weft.backends.reference.precision import wide
from weft.nn import functional as F
from weft.nn.module import Module, evaluating

__all__ = ["attention_rollout", "attention_weights", "grad_cam", "integrated_gradients", "occlusion", "saliency"]

Model = Callable[[Any], Any]


def saliency(model: Model, x: Any, target: Any = None) -> Tensor:
    """How strongly the score reacts to each input: |d score / d x|, of the shape of x (N, ...).

    model: x -> scores (N, C) or (N,). TypeError if x is not floating. Source: arXiv:1312.6034.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> weft.explain.saliency(model, weft.ones((2, 1, 2, 2)), target=1).shape
    (2, 1, 2, 2)
    """
    x = floating("saliency", x)
    with evaluating(model), enable_grad():
        target = chosen("saliency", model, x, target)
        return ops.abs(gradient(model, x, target))


def integrated_gradients(model: Model, x: Any, target: Any = None, baseline: Any = 0.0, steps: int = 64) -> Tensor:
    """How much each input added to the score, of the shape of x (N, ...): the gradient averaged on the way from
    `baseline` to x, times the way.

    The attributions of a sample sum to score(x) - score(baseline) (completeness), as closely as `steps` points of
    Gauss and Legendre integrate the gradient. baseline: a number, or an array that broadcasts to x.
    ValueError if steps < 1. Source: arXiv:1703.01365.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    >>> x = weft.ones((2, 4))
    >>> parts = weft.explain.integrated_gradients(model, x, target=1)
    >>> gap = parts.sum(axis=1) - (model(x) - model(0 * x))[:, 1]
    >>> bool((abs(gap) < 1e-5).all())
    True
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients: expected steps >= 1, got {steps}")
    x = floating("integrated_gradients", x)
    start = baseline if isinstance(baseline, (int, float)) else Tensor(beside(on_host(to_array(baseline)), x))
    if isinstance(start, Tensor) and not fits(start.shape, x.shape):
        raise ValueError(f"integrated_gradients: expected a baseline that fits {x.shape}, got {start.shape}")
    way = x - (ops.astype(start, x.dtype) if isinstance(start, Tensor) else start)
    points, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    total: Any = 0.0
    with evaluating(model), enable_grad():
        target = chosen("integrated_gradients", model, x, target)
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            total = total + float(weight) * gradient(model, x - float(1 - point) * way, target)
    return total * way


def grad_cam(model: Module, x: Any, layer: Module | str, target: Any = None) -> Tensor:
    """Where a convolutional layer saw what speaks for the class: x (N, C, H, W) -> (N, H, W), 0 or more.

    The layer's channels, each weighted by its mean gradient, summed, cut off at 0 and scaled to the size of x.
    layer: a module of the model or its path; its output is (N, channels, h, w). ValueError otherwise, or if the score
    does not depend on it. Source: arXiv:1610.02391.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    >>> weft.explain.grad_cam(model, weft.ones((2, 1, 8, 8)), layer="1").shape
    (2, 8, 8)
    """
    x = floating("grad_cam", x)
    module = model.get_submodule(layer) if isinstance(layer, str) else layer
    if not any(module is m for m in model.modules()):
        raise ValueError(f"grad_cam: expected a layer of the model, got another {type(module).__name__}")
    seen: list[Tensor] = []

    def keep(_: Module, args: Any, out: Any) -> Any:
        # A leaf of its own: the gradient is wanted here even where nothing before the layer is trained.
        seen.append(Tensor(out.data, requires_grad=True))
        return seen[-1]

    with evaluating(model), enable_grad():
        target = chosen("grad_cam", model, x, target)
        with module.register_forward_hook(keep):
            scores = picked(model(x), target)
        if len(seen) != 1 or seen[0].ndim != 4:
            got = f"{len(seen)} calls" if len(seen) != 1 else f"output {seen[0].shape}"
            raise ValueError(f"grad_cam: expected a layer that runs once and gives (N, C, h, w), got {got}")
        (g,) = autograd.grad(scores.sum(), [seen[0]], allow_unused=True)
    if g is None:
        raise ValueError(f"grad_cam: expected a score that depends on the layer {layer!r}, got one that does not")
    weights = ops.mean(g, axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    heat = ops.relu(ops.sum(weights * seen[0].detach(), axis=1, keepdims=True))  # (N, 1, h, w)
    return F.interpolate(heat, size=x.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def occlusion(
    model: Model, x: Any, target: Any = None, window: int = 4, stride: int | None = None, value: float = 0.0
) -> Tensor:
    """What the score loses where a square is covered: x (N, C, H, W) -> (N, H, W), the mean over the squares that
    cover a pixel.

    window: the square's side in pixels; stride: between squares, by default half a window; value: what covers.
    ValueError unless 1 <= stride <= window <= H, W.  Source: arXiv:1311.2901, section 4.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> weft.explain.occlusion(model, weft.ones((2, 1, 8, 8)), window=4).shape
    (2, 8, 8)
    """
    x = floating("occlusion", x)
    stride = max(1, window // 2) if stride is None else stride
    if x.ndim != 4 or not 1 <= stride <= window <= min(x.shape[2:]):
        raise ValueError(
            f"occlusion: expected x (N, C, H, W) and 1 <= stride <= window <= H, W, "
            f"got {x.shape}, stride {stride}, window {window}"
        )
    places = [covering(size, window, stride) for size in x.shape[2:]]
    lost, times = np.zeros((x.shape[0], *x.shape[2:])), np.zeros(x.shape[2:])
    with evaluating(model), no_grad():
        target = chosen("occlusion", model, x, target)
        score = on_host(picked(model(x), target).data)
        for top in places[0]:
            for left in places[1]:
                covered = Tensor(x.data.copy())
                covered[:, :, top : top + window, left : left + window] = value
                drop = score - on_host(picked(model(covered), target).data)  # (N,)
                lost[:, top : top + window, left : left + window] += drop[:, None, None]
                times[top : top + window, left : left + window] += 1
    return ops.astype(beside(lost / times, x), x.dtype)


def covering(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin that are `stride` apart and reach the end."""
    return sorted({*range(0, size - window + 1, stride), size - window})


def attention_weights(model: Model, *inputs: Any) -> list[Tensor]:
    """The weights (N, heads, queries, keys) of every fused attention that the model computes, in the order it does.

    That of `nn.functional.scaled_dot_product_attention`, which the layers of transformers use; `MultiheadAttention`
    called with need_weights=True returns its own instead.

    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> [w.shape for w in weft.explain.attention_weights(nn.TransformerEncoder(layer, 3), weft.ones((4, 5, 8)))]
    [(4, 2, 5, 5), (4, 2, 5, 5), (4, 2, 5, 5)]
    """
    found: list[Tensor] = []

    def look(body: Any, arrays: Any, params: dict[str, Any], results: Any) -> None:
        if body.title == "scaled_dot_product_attention":
            q, k, _, mask = (wide(a) for a in arrays)
            where = params["scale"], params["causal"], params.get("causal_offset", 0)
            weights, _ = softmax_scores(namespace(q), q, k, mask, *where)
            found.append(Tensor(weights))

    with evaluating(model), no_grad():
        outer, autograd.state.exporting = autograd.state.exporting, look
        try:
            model(*inputs)
        finally:
            autograd.state.exporting = outer
    return found


def attention_rollout(weights: list[Any]) -> Tensor:
    """How much of each output position comes from each input position through all layers: (N, T, T), rows sum to 1.

    weights: of the layers from first to last, each (N, heads, T, T). Heads are averaged, and half of each position is
    itself, by the residual connection. ValueError where the layers differ in shape. Source: arXiv:2005.00928.

    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> maps = weft.explain.attention_weights(layer, weft.ones((4, 5, 8)))
    >>> weft.explain.attention_rollout(maps).sum(axis=2).numpy().round(4)[0]
    array([1., 1., 1., 1., 1.], dtype=float32)
    """
    sizes = {(w.shape[0], *w.shape[2:]) for w in weights}
    if len(sizes) != 1 or any(w.ndim != 4 or w.shape[2] != w.shape[3] for w in weights):
        got = ", ".join(str(tuple(w.shape)) for w in weights) or "none"
        raise ValueError(f"attention_rollout: expected weights (N, heads, T, T) of layers of one size, got {got}")
    flow: Any = None
    for w in weights:
        mixed = 0.5 * ops.mean(w, axis=1)  # (N, T, T)
        mixed = mixed + 0.5 * beside(np.eye(w.shape[2], dtype=np.float32), mixed)
        flow = mixed if flow is None else ops.matmul(mixed, flow)
    return flow


# ---- what they share


def fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether the one broadcasts to the other."""
    return len(shape) <= len(whole) and all(a in (1, b) for a, b in zip(shape[::-1], whole[::-1]))


def floating(name: str, x: Any) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind not in "fV":
        raise TypeError(f"{name}: expected floating inputs, got {x.dtype}")
    return x.detach()


def chosen(name: str, model: Model, x: Tensor, target: Any) -> Any:
    """The class of each sample to explain, integers (N,); None if the model gives one score (N,)."""
    with no_grad():
        scores = model(x)
    if not isinstance(scores, Tensor):
        raise TypeError(f"{name}: expected a model that returns its scores alone, got {type(scores).__name__}; give a "
                        "function that picks them, of the model in evaluation mode")  # fmt: skip
    n = x.shape[0]
    if scores.shape == (n,) and target is None:
        return None
    if scores.ndim != 2 or scores.shape[0] != n:
        raise ValueError(f"{name}: expected scores ({n}, C), or ({n},) with no target, got {scores.shape}")
    target = ops.argmax(scores, axis=1) if target is None else target
    classes = np.asarray(on_host(target.data) if isinstance(target, Tensor) else target)
    if classes.shape not in ((), (n,)) or classes.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected target, an integer or ({n},) of them, got {classes.dtype} {classes.shape}")
    if classes.size and not 0 <= classes.min() <= classes.max() < scores.shape[1]:
        raise IndexError(f"{name}: expected a target below {scores.shape[1]}, got {classes.min()} to {classes.max()}")
    return beside(np.broadcast_to(classes, (n,)).astype(np.int64), x)


def picked(scores: Any, target: Any) -> Any:
    """The score of each sample's class, (N,)."""
    return scores if target is None else ops.take_along_axis(scores, target[:, None], axis=1)[:, 0]


def gradient(model: Model, x: Tensor, target: Any) -> Tensor:
    x = Tensor(x.data, requires_grad=True)
    return autograd.grad(picked(model(x), target).sum(), x)
