"""What every GEMM test does: draw factors that lie as asked, multiply them on the emulated device, compare.

The error against float64 (of float64, against x86's 80 bits) may be twice that of NumPy's float32 product of the same
rounded factors, plus one rounding of the output and one of the largest sum.
Outputs are poisoned, and what surrounds them must stay as it was. Rows of aux and of the residual are as far apart as
those of no other matrix.
"""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from weft.backends.gpu.array import from_host
from weft.backends.gpu.gemm import gemm

BF16 = np.dtype(ml_dtypes.bfloat16)
#: Half a unit in the last place, relative.
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def to_tf32(x, even=False):
    """float32 rounded to the 10 bits of tf32's mantissa, ties away from zero, as cvt.rna does, or to even, as TMA."""
    bits = x.view(np.uint32)
    half = 0xFFF + (bits >> 13 & 1) if even else np.uint32(0x1000)
    return ((bits + half) & np.uint32(0xFFFFE000)).view(np.float32)


def draw(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.3
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    return rng.uniform(-1, 1, shape).astype(np.float32 if dtype.itemsize < 4 else dtype).astype(dtype)


def laid_out(values, *, transposed=False, margin=0, offset=0):
    """A device view of `values`: its last two axes swapped in memory if `transposed`, rows `margin` elements longer
    than they are, the first one `offset` elements into its buffer."""
    stored = np.swapaxes(values, -1, -2) if transposed else values
    rows = np.zeros((*stored.shape[:-1], stored.shape[-1] + margin), values.dtype)
    rows[..., : stored.shape[-1]] = stored
    buffer = from_host(np.concatenate([np.zeros(offset, values.dtype), rows.reshape(-1)]))
    view = buffer[offset:].reshape(rows.shape)[..., : stored.shape[-1]]
    return view.swapaxes(-1, -2) if transposed else view


def poisoned(shape, dtype, margin=0):
    """(buffer, view of `shape` in it), full of NaN, or of an odd number."""
    dtype = np.dtype(dtype)
    full = np.full((*shape[:-1], shape[-1] + margin), np.nan if dtype.kind not in "iub" else 77).astype(dtype)
    buffer = from_host(full)
    return buffer, buffer[..., : shape[-1]]


ACTIVATIONS = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def epilogue(product, *, alpha, beta, old, bias, activation, residual):
    """(out, aux) of the documented formula, in the precision of `product`."""
    wide = product.dtype.type
    x = product * wide(alpha)
    if beta:
        x = x + wide(beta) * old.astype(wide)
    if bias is not None:
        x = x + bias.astype(wide)
    out = ACTIVATIONS[activation](x)
    return (out if residual is None else out + residual.astype(wide)), x


def close(got, exact, reference, dtype, sums):
    """Whether got errs at most twice as much as reference, beside its own rounding and that of `sums`, the largest
    value before the activation: relu may keep only a few small ones, in which the reference was lucky."""
    if exact.size == 0:
        return
    got = got.astype(exact.dtype)
    assert np.isfinite(got).all(), "poison in the output"
    size = np.abs(exact).max()
    own = ROUNDING[str(dtype)] * size + ROUNDING["float64" if dtype == np.float64 else "float32"] * sums
    allowed = 2 * np.abs(reference.astype(exact.dtype) - exact).max() + 2 * own + 1e-30
    worst = np.abs(got - exact).max()
    assert worst <= allowed, f"error {worst:.3g}, allowed {allowed:.3g}, values to {size:.3g}"


def check(
    rng, m, n, k, dtype="float32", layout="NN", *, batch=(), b_batch=None, kernel=None, margin=0, offset=0,
    out_margin=0, out_dtype=None, alpha=1.0, beta=0.0, bias=None, activation=None, aux=False, residual=False,
    tf32=False,
):  # fmt: skip
    """One product on the emulated device against float64."""
    dtype = np.dtype(BF16 if dtype == "bfloat16" else dtype)
    out_dtype = dtype if out_dtype is None else np.dtype(out_dtype)
    a, b = draw(rng, (*batch, m, k), dtype), draw(rng, (*(batch if b_batch is None else b_batch), k, n), dtype)
    places = {"margin": margin, "offset": offset}
    on_a, on_b = laid_out(a, transposed=layout[0] == "T", **places), laid_out(b, transposed=layout[1] == "T", **places)
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)
    buffer, out = poisoned(shape, out_dtype, out_margin)
    old = draw(rng, shape, out_dtype)
    if beta:
        out.memory[...] = old
    values = {"column": (n,), "row": (m, 1)}
    offsets = None if bias is None else draw(rng, values[bias], dtype)
    added = draw(rng, shape, out_dtype) if residual else None
    _, saved = poisoned(shape, out_dtype, 2 * out_margin) if aux else (None, None)
    result = gemm(
        on_a, on_b, out=out, alpha=alpha, beta=beta, bias=None if bias is None else from_host(offsets),
        activation=activation, aux=saved, residual=None if added is None else laid_out(added, margin=3 * out_margin),
        out_dtype=out_dtype, kernel=kernel,
    )  # fmt: skip
    assert result is out
    after = buffer.get()
    untouched = after[..., n:]
    assert np.isnan(untouched.astype(np.float32)).all() if dtype.kind not in "iub" else (untouched == 77).all()
    got = after[..., :n]

    if dtype.kind in "iub":
        expected = a @ b if not beta else ((a @ b).astype(dtype) + old).astype(dtype)
        np.testing.assert_array_equal(got, expected.astype(dtype))
        return got
    options = {"alpha": alpha, "beta": beta, "bias": offsets, "activation": activation}
    rounded = (to_tf32(a, tf32 == "even"), to_tf32(b, tf32 == "even")) if tf32 else (a, b)
    precise, narrow = (
        epilogue(np.matmul(rounded[0].astype(t), rounded[1].astype(t)), old=old, residual=added, **options)
        for t in ((np.longdouble, np.float64) if dtype == np.float64 else (np.float64, np.float32))
    )
    sums = np.abs(precise[1]).max(initial=0)
    close(got, precise[0], narrow[0].astype(out_dtype), out_dtype, sums)
    if aux:
        close(saved.get(), precise[1], narrow[1].astype(out_dtype), out_dtype, sums)
    return got
