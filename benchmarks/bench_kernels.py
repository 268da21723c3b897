"""The native kernels beside PyTorch's, one primitive at a time: `python benchmarks/bench_kernels.py [gemm conv ...]`.

Each row calls Weft's primitive and PyTorch's function on the same random arrays, in turns, and checks both against
float64 first. Ratios are PyTorch's time over Weft's: above 1, Weft is faster.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from typing import Any

import harness

if __name__ == "__main__":
    harness.quiet_environment()

import numpy as np

Row = tuple[str, Callable[[], Any], Callable[[], Any], float]  # what, Weft, PyTorch, flops or bytes

rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype("f")


def gemm() -> Iterator[Row]:
    import torch

    from weft.backends import reference as K

    sizes = [
        (1024, 1024, 1024),
        (2048, 256, 1024),
        (2048, 1024, 256),
        (64, 784, 576),
        (128, 10, 256),
        (32, 784, 128),
        (256, 256, 256),
    ]
    for m, n, k in sizes:
        for kind in ("nn", "nt", "tn"):
            a = normal(m, k) if kind[0] == "n" else normal(k, m).T
            b = normal(k, n) if kind[1] == "n" else normal(n, k).T
            p, q = torch.from_numpy(a), torch.from_numpy(b)
            yield f"matmul {m}x{n}x{k} {kind}", lambda: K.matmul(a, b), lambda: torch.mm(p, q), 2.0 * m * n * k


def conv() -> Iterator[Row]:
    import torch

    from weft.backends import reference as K

    shapes = [(64, 64, 28, 64, 3, 1), (128, 1, 28, 32, 3, 1), (128, 32, 28, 64, 3, 1), (32, 64, 32, 64, 3, 1),
              (32, 128, 16, 256, 3, 2), (32, 512, 4, 512, 3, 1), (32, 64, 32, 256, 1, 1),
              (32, 3, 32, 64, 3, 1)]  # fmt: skip
    for n, c, size, o, k, stride in shapes:
        x, w, pad = normal(n, c, size, size), normal(o, c, k, k), k // 2
        how = {"stride": (stride, stride), "padding": ((pad, pad), (pad, pad)), "dilation": (1, 1), "groups": 1}
        y = K.conv2d(x, w, None, **how)
        g = normal(*y.shape)
        tx, tw, tg = (torch.from_numpy(a) for a in (x, w, g))
        flops = 2.0 * y.size * c * k * k

        def back(mask: list[bool], t=(tg, tx, tw), s=stride, p=pad) -> Any:
            return torch.ops.aten.convolution_backward(*t, None, [s, s], [p, p], [1, 1], False, [0, 0], 1, mask)

        name = f"{n},{c},{size} -> {o} k{k} s{stride}"
        yield (
            f"conv2d {name}",
            lambda: K.conv2d(x, w, None, **how),
            lambda: torch.conv2d(tx, tw, None, stride, pad),
            flops,
        )
        yield (
            "  input grad",
            lambda: K.conv2d_input_grad(g, w, shape=x.shape, **how),
            lambda: back([True, False, False]),
            flops,
        )
        yield (
            "  weight grad",
            lambda: K.conv2d_weight_grad(g, x, shape=w.shape, **how),
            lambda: back([False, True, False]),
            flops,
        )


def rows() -> Iterator[Row]:
    import torch
    import torch.nn.functional as F

    from weft.backends import reference as K

    for r, d in ((2048, 256), (4096, 1024)):
        x, g, w, b = normal(r, d), normal(r, d), normal(d), normal(d)
        tx, tg, tw, tb = (torch.from_numpy(a) for a in (x, g, w, b))
        _, mean, rstd = K.layer_norm(x, w, b, eps=1e-5)
        _, tm, tr = torch.native_layer_norm(tx, (d,), tw, tb, 1e-5)
        size = 4.0 * r * d
        yield (
            f"layer norm {r}x{d}",
            lambda: K.layer_norm(x, w, b, eps=1e-5),
            lambda: F.layer_norm(tx, (d,), tw, tb),
            2 * size,
        )
        theirs = lambda: torch.ops.aten.native_layer_norm_backward(tg, tx, [d], tm, tr, tw, tb, [True] * 3)
        yield "  backward", lambda: K.layer_norm_backward(g, x, w, mean, rstd), theirs, 3 * size
        yield f"softmax {r}x{d}", lambda: K.softmax(x, axis=-1), lambda: torch.softmax(tx, -1), 2 * size
        yield f"gelu {r}x{d}", lambda: K.gelu(x, approximate="none"), lambda: F.gelu(tx), 2 * size
        yield (
            "  backward",
            lambda: K.gelu_backward(g, x, approximate="none"),
            lambda: torch.ops.aten.gelu_backward(tg, tx),
            3 * size,
        )
    x, y = normal(2048, 1000), rng.integers(0, 1000, 2048)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    how = {"ignore_index": -100, "label_smoothing": 0.0}
    yield (
        "cross-entropy 2048x1000",
        lambda: K.cross_entropy(x, y, None, **how),
        lambda: F.cross_entropy(tx, ty),
        4.0 * x.size,
    )


def images() -> Iterator[Row]:
    """Batch norm by the batch's statistics and by given ones; pooling by windows that lie apart and that overlap."""
    import torch
    import torch.nn.functional as F

    from weft.backends import reference as K

    for shape in ((32, 64, 32, 32), (8, 64, 56, 56), (8, 256, 14, 14), (256, 512)):
        x, (w, b, mean), var = normal(*shape), normal(3, shape[1]), normal(shape[1]) ** 2
        tx, tw, tb, tm, tv = map(torch.from_numpy, (x, w, b, mean, var))
        name = "x".join(map(str, shape))
        yield (
            f"batch norm {name}",
            lambda: K.batch_norm(x, w, b, eps=1e-5),
            lambda: F.batch_norm(tx, None, None, tw, tb, training=True),
            2.0 * 4 * x.size,
        )
        yield (
            "  in evaluation",
            lambda: K.batch_norm_inference(x, w, b, mean, var, None, eps=1e-5, relu=False),
            lambda: F.batch_norm(tx, tm, tv, tw, tb, training=False),
            2.0 * 4 * x.size,
        )
    cases = ((128, 64, 28, 28), 2, 2, 0), ((8, 64, 112, 112), 3, 2, 1), ((32, 192, 7, 7), 3, 1, 1)
    for shape, kernel, stride, pad in cases:
        x = normal(*shape)
        tx = torch.from_numpy(x)
        pool = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": ((pad, pad),) * 2, "dilation": (1, 1)}
        ours, theirs = K.max_pool2d(x, **pool), F.max_pool2d(tx, kernel, stride, pad, return_indices=True)
        g = normal(*ours[0].shape)
        tg = torch.from_numpy(g)
        yield (
            f"max pool {kernel}x{kernel}/{stride} {'x'.join(map(str, shape))}",
            lambda: K.max_pool2d(x, **pool),
            lambda: F.max_pool2d(tx, kernel, stride, pad, return_indices=True),
            5.0 * x.size,
        )
        back = ([kernel] * 2, [stride] * 2, [pad] * 2, [1, 1], False)
        yield (
            "  backward",
            lambda: K.max_pool2d_backward(g, ours[1], shape=shape, **pool),
            lambda: torch.ops.aten.max_pool2d_with_indices_backward(tg, tx, *back, theirs[1]),
            4.0 * x.size + 5.0 * g.size,
        )


def attention() -> Iterator[Row]:
    import torch
    import torch.nn.functional as F

    from weft.backends import reference as K

    for b, h, s, d, causal in ((16, 4, 128, 64, False), (16, 4, 128, 64, True), (2, 8, 1024, 64, True)):
        q, k, v, g = (normal(b, h, s, d) for _ in range(4))
        how = {"scale": d**-0.5, "causal": causal, "dropout": 0.0, "seed": 0, "offset": 0}
        out, lse = K.attention(q, k, v, None, **how)
        tq, tk, tv = (torch.from_numpy(a).requires_grad_() for a in (q, k, v))
        tg = torch.from_numpy(g)
        ty = F.scaled_dot_product_attention(tq, tk, tv, is_causal=causal)

        def forward(t=(tq, tk, tv), c=causal) -> Any:
            with torch.no_grad():
                return F.scaled_dot_product_attention(*t, is_causal=c)

        flops = 4.0 * b * h * s * s * d * (0.5 if causal else 1)
        yield (
            f"attention {b}x{h}x{s}x{d}{' causal' * causal}",
            lambda: K.attention(q, k, v, None, **how),
            forward,
            flops,
        )
        theirs = lambda: torch.autograd.grad(ty, (tq, tk, tv), tg, retain_graph=True)
        yield "  backward", lambda: K.attention_backward(g, q, k, v, None, out, lse, **how), theirs, 2.5 * flops


FAMILIES = {"gemm": gemm, "conv": conv, "rows": rows, "images": images, "attention": attention}


def first(out: Any) -> np.ndarray:
    out = next(o for o in out if o is not None) if isinstance(out, (tuple, list)) else out
    return out.detach().numpy() if hasattr(out, "detach") else np.asarray(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help=f"some of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--seconds", type=float, default=0.6, help="per row")
    args = parser.parse_args()
    import torch

    import weft  # noqa: F401

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    facts = harness.announce("Kernels, float32: PyTorch's time over Weft's")
    kept = []
    for family in args.families or FAMILIES:
        for what, ours, theirs, work in FAMILIES[family]():
            a, b = first(ours()), first(theirs())
            if a.shape != b.shape:
                a, b = a.mean(), b.mean()  # cross-entropy: one reduces, one does not
            worst = np.abs(a - b).max() / np.abs(b).max()
            if worst > 1e-4:
                raise SystemExit(f"{what}: results differ by {worst:.1e} of the largest")
            times = harness.alternate({"weft": ours, "torch": theirs}, seconds=args.seconds)
            mine, peer = times["weft"]["median"], times["torch"]["median"]
            print(
                f"  {what:34s} {harness.duration(mine):>8s} {harness.duration(peer):>8s}  {peer / mine:5.2f}x  "
                f"{work / mine / 1e9:6.0f} G/s",
                flush=True,
            )
            kept.append({"what": what.strip(), "times": times, "ratio": peer / mine})
    ratios = [row["ratio"] for row in kept]
    print(f"  geometric mean {np.exp(np.mean(np.log(ratios))):.2f}x over {len(ratios)} rows")
    harness.save("kernels", facts, kept)


if __name__ == "__main__":
    main()
