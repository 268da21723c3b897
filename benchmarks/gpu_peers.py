"""What PyTorch, cuDNN and CuPy reach on this GPU: the figures that Weft's are to be held against.

    python benchmarks/gpu_peers.py [--out FILE.json] [--seconds 80] [--rehearse]

ResNet-50's convolutions layer by layer and pass by pass, training steps of ResNet-50, an MNIST CNN and GPT-2 124M,
softmax, layer norm, cross-entropy, attention, AdamW, and what one launch costs. `--rehearse` runs every row once on
the CPU with small sizes, so that a lent GPU meets no typing error.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from weft.bench import facts
from weft.bench.timing import duration, spread

Row = dict[str, Any]


class Bench:
    """Times functions on one device: device events with a cold L2 cache on a GPU, the clock on a CPU."""

    def __init__(self, device: str):
        self.device = device
        self.small = device == "cpu"
        self.scratch = None if self.small else torch.empty(1 << 28, dtype=torch.uint8, device=device)

    def once(self, f: Callable[[], Any]) -> float:
        if self.small:
            start = time.perf_counter()
            f()
            return time.perf_counter() - start
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.scratch.fill_(0x5A)
        begin.record()
        f()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    def time(self, f: Callable[[], Any], calls: int = 15) -> dict[str, float]:
        calls, warm = (1, 1) if self.small else (calls, 4)
        for _ in range(warm):
            f()
        return spread([self.once(f) for _ in range(calls)])

    def normal(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        shape = tuple(min(n, 64) for n in shape) if self.small else shape
        return torch.randn(shape, device=self.device, dtype=torch.float32).to(dtype)


# (channels in, channels out, kernel, stride, size of the input): each distinct convolution of ResNet-50
CONVOLUTIONS = [
    (3, 64, 7, 2, 224), (64, 64, 1, 1, 56), (64, 64, 3, 1, 56), (64, 256, 1, 1, 56), (256, 64, 1, 1, 56),
    (256, 128, 1, 1, 56), (128, 128, 3, 2, 56), (128, 512, 1, 1, 28), (256, 512, 1, 2, 56), (512, 128, 1, 1, 28),
    (128, 128, 3, 1, 28), (512, 256, 1, 1, 28), (256, 256, 3, 2, 28), (256, 1024, 1, 1, 14), (512, 1024, 1, 2, 28),
    (1024, 256, 1, 1, 14), (256, 256, 3, 1, 14), (1024, 512, 1, 1, 14), (512, 512, 3, 2, 14), (512, 2048, 1, 1, 7),
    (1024, 2048, 1, 2, 14), (2048, 512, 1, 1, 7), (512, 512, 3, 1, 7),
]  # fmt: skip


def convolutions(bench: Bench) -> Iterator[Row]:
    """cuDNN on ResNet-50's layers, batch 64, bfloat16, channels last: fprop, dgrad and wgrad apart."""
    torch.backends.cudnn.benchmark = True
    batch = 2 if bench.small else 64
    for c, o, k, s, size in CONVOLUTIONS:
        size = 8 if bench.small else size
        like = {"device": bench.device, "dtype": torch.bfloat16}
        x = torch.randn(batch, c, size, size, **like).contiguous(memory_format=torch.channels_last)
        w = torch.randn(o, c, k, k, **like).contiguous(memory_format=torch.channels_last)
        y = F.conv2d(x, w, None, s, k // 2)
        g = torch.randn_like(y)
        flops = 2.0 * y.numel() * c * k * k

        def back(mask: list[bool], t=(g, x, w), s=s, p=k // 2) -> Any:
            return torch.ops.aten.convolution_backward(*t, None, [s, s], [p, p], [1, 1], False, [0, 0], 1, mask)

        passes = {"fprop": lambda: F.conv2d(x, w, None, s, k // 2), "wgrad": lambda: back([False, True, False])}
        if c > 3:
            passes["dgrad"] = lambda: back([True, False, False])
        for name, f in passes.items():
            yield {"what": f"conv {c}->{o} k{k} s{s} {size}x{size} {name}", "flops": flops, **bench.time(f)}


class Bottleneck(nn.Module):
    """ResNet-50's block (He et al. 2015), stride in the 3x3 convolution."""

    def __init__(self, c: int, width: int, stride: int):
        super().__init__()
        conv = lambda i, o, k, s: nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o))
        self.one, self.two = conv(c, width, 1, 1), conv(width, width, 3, stride)
        self.three = conv(width, 4 * width, 1, 1)
        self.skip = conv(c, 4 * width, 1, stride) if stride > 1 or c != 4 * width else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.three(F.relu(self.two(F.relu(self.one(x))))) + self.skip(x))


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                               nn.MaxPool2d(3, 2, 1)]  # fmt: skip
    c = 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            layers.append(Bottleneck(c, width, stride if i == 0 else 1))
            c = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 1000))


class Block(nn.Module):
    """A GPT-2 block, attention by PyTorch's fused kernel."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocabulary: int, length: int, layers: int, width: int, heads: int):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        return self.head(self.norm(self.blocks(self.tokens(x) + self.places(places))))


def step_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor, device: str) -> Callable[[], Any]:
    """One training step under bfloat16 autocast with fused AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=device != "cpu")

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            out = model(x)
            loss = F.cross_entropy(out.flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()

    return step


def training(bench: Bench) -> Iterator[Row]:
    """Items per second of whole training steps, bfloat16 autocast, eager."""
    device, small = bench.device, bench.small
    torch.set_float32_matmul_precision("high")
    images = 2 if small else 256
    size = 32 if small else 224
    x = torch.randn(images, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 1000, (images,), device=device)
    model = resnet50().to(device).to(memory_format=torch.channels_last)
    times = bench.time(step_of(model, x, y, device), 8)
    yield {"what": f"ResNet-50 training, batch {images}", "per_second": images / times["median"], **times}
    del model
    x, y = torch.randn(128, 1, 28, 28, device=device), torch.randint(0, 10, (128,), device=device)
    stage = lambda i, o: (nn.Conv2d(i, o, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2))
    head = (nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    model = nn.Sequential(*stage(1, 32), *stage(32, 64), *head).to(device)
    times = bench.time(step_of(model, x, y, device), 50)
    yield {"what": "MNIST CNN training, batch 128", "per_second": 128 / times["median"], **times}
    batch, length, layers = (1, 16, 1) if small else (32, 1024, 12)
    gpt = GPT(50304, length, layers, 768, 12).to(device)
    x, y = (torch.randint(0, 50257, (batch, length), device=device) for _ in range(2))
    times = bench.time(step_of(gpt, x, y, device), 6)
    yield {"what": f"GPT-2 124M training, batch {batch} x {length}", "per_second": batch * length / times["median"],
           **times}  # fmt: skip


def rows(bench: Bench) -> Iterator[Row]:
    """What is bound by memory, and attention: bytes are what must move, each value once in and once out."""
    for n in (1024, 4096, 32768):
        x = bench.normal(8192, n)
        moved = 2.0 * x.numel() * x.element_size()
        yield {"what": f"softmax 8192x{n} bf16", "bytes": moved, **bench.time(lambda: F.softmax(x, -1))}
        w = torch.ones(x.shape[-1], device=x.device, dtype=x.dtype)
        yield {
            "what": f"layer_norm 8192x{n} bf16",
            "bytes": moved,
            **bench.time(lambda: F.layer_norm(x, x.shape[-1:], w, w)),
        }
        y = torch.randint(0, x.shape[-1], x.shape[:1], device=x.device)
        yield {"what": f"cross_entropy 8192x{n} bf16", "bytes": moved / 2, **bench.time(lambda: F.cross_entropy(x, y))}
    for b, h, s, d, causal in ((8, 16, 2048, 64, True), (4, 16, 4096, 128, True), (4, 16, 4096, 128, False)):
        q, k, v = (bench.normal(b, h, s, d).requires_grad_() for _ in range(3))
        flops = 4.0 * b * h * s * s * d * (0.5 if causal else 1)
        forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        name = f"attention {b}x{h}x{s}x{d}{' causal' * causal}"
        yield {"what": name, "flops": flops, **bench.time(forward)}
        out = forward()
        g = torch.randn_like(out)
        back = lambda: torch.autograd.grad(out, (q, k, v), g, retain_graph=True)
        yield {"what": f"{name} backward", "flops": 2.5 * flops, **bench.time(back)}
    parameters = [bench.normal(4096, 4096).requires_grad_() for _ in range(1 if bench.small else 32)]
    for p in parameters:
        p.grad = torch.randn_like(p)
    optimizer = torch.optim.AdamW(parameters, fused=not bench.small)
    count = sum(p.numel() for p in parameters)
    yield {"what": f"AdamW fused, {count / 1e6:.0f} M bf16", "bytes": 14.0 * count, **bench.time(optimizer.step)}


def launches(bench: Bench) -> Iterator[Row]:
    """Host microseconds to enqueue one small kernel, by each road."""
    if bench.small:
        return
    import cupy

    source = "extern \"C\" __global__ void nothing(float* a, float* b, float* c, int n, float s) {}"
    kernel = cupy.RawKernel(source, "nothing")
    a = cupy.empty(1024, cupy.float32)
    arguments = (a, a, a, 1024, 1.0)
    x = torch.empty(1024, device=bench.device)

    def per_call(f: Callable[[], Any], calls: int = 300) -> dict[str, float]:
        taken = []
        for _ in range(30):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                f()
            taken.append((time.perf_counter() - start) / calls)
        return spread(taken)

    yield {"what": "enqueue: CuPy RawKernel", **per_call(lambda: kernel((1,), (128,), arguments))}
    yield {"what": "enqueue: CuPy a + a", **per_call(lambda: a + a)}
    yield {"what": "enqueue: torch x.add_(x)", **per_call(lambda: x.add_(x))}
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x.add_(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(100):
                x.add_(x)
    yield {"what": "replay of a graph of 100 kernels", **per_call(graph.replay, 20)}


def said(row: Row, rehearsal: bool) -> str:
    rate = ""
    if rehearsal:  # of other sizes than the row names
        pass
    elif "flops" in row:
        rate = f"{row['flops'] / row['median'] / 1e12:8.1f} TFLOP/s"
    elif "bytes" in row:
        rate = f"{row['bytes'] / row['median'] / 1e9:8.0f} GB/s"
    elif "per_second" in row:
        rate = f"{row['per_second']:8.0f} per second"
    return f"  {row['what']:44s} {duration(row['median']):>9s} {rate}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=80.0, help="no new family is begun after this")
    parser.add_argument("--rehearse", action="store_true", help="every row once, small, on the CPU")
    options = parser.parse_args()
    bench = Bench("cpu" if options.rehearse else "cuda")
    found = facts.machine() | ({} if bench.small else facts.gpu())
    facts.announce("PyTorch, cuDNN and CuPy", found)
    start, kept = time.monotonic(), []
    for family in (convolutions, rows, launches, training):  # of training, `weft bench train` times the same
        if time.monotonic() - start > options.seconds:
            print(f"  {family.__name__}: left out, no time left")
            continue
        for row in family(bench):
            kept.append(row)
            print(said(row, bench.small), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": found, "rows": kept}, indent=1) + "\n")
        print(f"  kept in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
