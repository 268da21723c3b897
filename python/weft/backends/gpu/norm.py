"""Layer norm and RMS norm on devices: norm.cu, a row by a team of threads, both passes of it from registers.

The gradients of weight and bias are sums over all rows. The blocks that compute the gradient of x sum them for their
own rows on the way; a second kernel adds up what at most `PARTS` blocks have found.
"""

from __future__ import annotations

from typing import Any

from weft.backends import reference as K
from weft.backends.gpu import entry, rows
from weft.backends.gpu.array import empty
from weft.backends.gpu.expressions import STORAGE
from weft.backends.gpu.maps import apply
from weft.backends.launch import Kernel, kernel, launch

PARTS = 256  # blocks that share the rows of a backward pass, two for each multiprocessor of an H100
ACROSS, LINES = 32, 8  # threads of the kernels that sum columns
FEWER = ((4, 8), (32, 16), (256, 16), (512, 16))  # teams of a backward pass, whose threads keep sums too
SINGLE = 8  # elements that a thread keeps where it reads one at a time: each has an address of its own


def team_of(columns: int, itemsize: int, backward: bool = False) -> rows.Team:
    """Threads of a row. A thread owns columns, so rows that are no whole vectors are read one element at a time."""
    vector = 16 // itemsize if columns % (16 // itemsize) == 0 else 1
    for lanes, values in FEWER if backward else rows.TEAMS:
        keep = min(values, rows.KEPT[itemsize], SINGLE if vector == 1 else values) // vector
        if columns <= lanes * keep * vector:
            return rows.Team(lanes, keep, vector, 1)
    return rows.Team(1024, 0, vector, 1)


def norm_kernel(name: str, team: rows.Team, char: str, parameter: str) -> Kernel:
    return kernel("norm.cu", name, **team.defines(char), PARAMETER=STORAGE[parameter])


def parameters(x: Any, *given: Any) -> tuple[str, list[Any]]:
    """The dtype character of weight and bias, x's if there are none, and both in it, dense."""
    dtype = next((p.dtype for p in given if p is not None), x.dtype)
    same = [p if p is None or p.dtype == dtype else apply("copy", p, dtype=dtype) for p in given]
    return dtype.char, [p if p is None else rows.dense(p) for p in same]


def forward(name: str, x: Any, weight: Any, bias: Any, eps: float) -> list[Any]:
    """[out, mean, rstd] of layer_norm, [out, rstd] of rms_norm."""
    rows.check_columns(name, x.shape[-1])
    char, (weight, bias) = parameters(x, weight, bias)
    x, columns = rows.dense(x), x.shape[-1]
    team, count, real = team_of(columns, x.dtype.itemsize), x.size // columns, rows.real_of(x)
    layer = name == "layer_norm"
    outs = [empty(x.shape, x.dtype, x.device_name)]
    outs += [empty((*x.shape[:-1], 1), real, x.device_name) for _ in range(2 if layer else 1)]
    given = (x, weight, bias) if layer else (x, weight)
    launch(
        norm_kernel(name, team, x.dtype.char, char), (team.blocks(count),), (team.threads,),
        (*outs, *given, count, columns, eps),
    )  # fmt: skip
    return outs


def backward(name: str, g: Any, x: Any, weight: Any, statistics: list[Any], with_bias: bool) -> list[Any]:
    """Gradients of x, weight (None without one), and bias (None where that is not asked for)."""
    char, (weight,) = parameters(x, weight)
    g, x, columns = rows.dense(g), rows.dense(x), x.shape[-1]
    statistics = [rows.dense(s) for s in statistics]  # mean and rstd, or rstd
    count, device, real = x.size // columns, x.device_name, rows.real_of(x)
    team = team_of(columns, x.dtype.itemsize, backward=True)
    out = empty(x.shape, x.dtype, device)
    sums = with_bias or weight is not None
    blocks = min(team.blocks(count), PARTS) if team.keep else team.blocks(count)
    parts = blocks if team.keep else min(PARTS, -(-count // LINES))
    partials = empty((2, parts, columns), real, device) if sums else None
    launch(
        norm_kernel(f"{name}_backward", team, x.dtype.char, char), (blocks,), (team.threads,),
        (out, partials if team.keep else None, g, x, weight, *statistics, count, columns),
    )  # fmt: skip
    if not sums:
        return [out, None, None]
    if not team.keep:
        function = norm_kernel("norm_partials", team, x.dtype.char, char)
        tiles = -(-columns // (ACROSS * team.vector))
        mean = statistics[0] if len(statistics) == 2 else None
        launch(
            function, (tiles, parts), (ACROSS * LINES,), (partials, g, x, mean, statistics[-1], count, columns)
        )  # fmt: skip
    kind = x.dtype if weight is None else weight.dtype
    found = [None if weight is None else empty((columns,), kind, device)]
    found += [empty((columns,), kind, device) if with_bias else None]
    function = norm_kernel("norm_parameters", team, x.dtype.char, char)
    launch(function, (-(-columns // ACROSS),), (ACROSS * LINES,), (*found, partials, parts, columns))
    return [out, *found]


@entry(K.layer_norm, "[feE][feE]?[feE]?|dd?d?")
def layer_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> tuple[Any, Any, Any]:
    if not x.size:
        return K.layer_norm.reference(x, weight, bias, eps=eps)  # type: ignore[no-any-return]
    out, mean, rstd = forward("layer_norm", x, weight, bias, eps)
    return out, mean, rstd


@entry(K.layer_norm_backward, "ff[feE]?ff|ee[feE]?ff|EE[feE]?ff|ddd?dd")
def layer_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, *, spare: bool = False
) -> tuple[Any, Any, Any]:
    if not x.size:
        return K.layer_norm_backward.reference(g, x, weight, mean, rstd)  # type: ignore[no-any-return]
    gx, gw, gb = backward("layer_norm", g, x, weight, [mean, rstd], with_bias=True)
    return gx, gw, gb


@entry(K.rms_norm, "[feE][feE]?|dd?")
def rms_norm(x: Any, weight: Any, *, eps: float) -> tuple[Any, Any]:
    if not x.size:
        return K.rms_norm.reference(x, weight, eps=eps)  # type: ignore[no-any-return]
    out, rstd = forward("rms_norm", x, weight, None, eps)
    return out, rstd


@entry(K.rms_norm_backward, "ff[feE]?f|ee[feE]?f|EE[feE]?f|ddd?d")
def rms_norm_backward(g: Any, x: Any, weight: Any, rstd: Any, *, spare: bool = False) -> tuple[Any, Any]:
    if not x.size:
        return K.rms_norm_backward.reference(g, x, weight, rstd)  # type: ignore[no-any-return]
    gx, gw, _ = backward("rms_norm", g, x, weight, [rstd], with_bias=False)
    return gx, gw
