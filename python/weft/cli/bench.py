"""`weft bench [NAME...]`: what this machine's GPU or CPU reaches, or the benchmarks of a checkout; a process each."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3] / "benchmarks"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="see --list, or kernel FILE:NAME; default: all")
    parser.add_argument("--list", action="store_true", help="name them, with their first line, and run none")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; default: a GPU where there is one")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long each row is timed")
    parser.add_argument("--match", default="", help="only rows whose name contains this, such as 'bf16 NT'")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of reports (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="of train: torch.compile on a CPU, too (minutes)")
    parser.add_argument("--history", action="store_true", help="draw the reports in --out, name what became slower")


def scripts() -> dict[str, Path]:
    return {path.stem.removeprefix("bench_"): path for path in sorted(CHECKOUT.glob("bench_*.py"))}


def run(options: argparse.Namespace) -> int:
    if options.history:
        return history(options.out)
    if options.names[:1] == ["kernel"]:
        return kernels(options)
    known = scripts()
    unknown = [name for name in options.names if name not in OWN and name not in known]
    if unknown:
        raise ValueError(f"expected one of {', '.join((*OWN, *known))}, got {unknown[0]}")
    chosen = options.names or [*OWN, *known]
    if options.list:
        for name in chosen:
            first = OWN[name][0] if name in OWN else known[name].read_text().splitlines()[0].strip('"')
            print(f"{name:14s} {first}")
        return 0
    if len(chosen) == 1 and chosen[0] in OWN:
        return OWN[chosen[0]][1](options)
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "weft", "bench", name] if name in OWN else [sys.executable, known[name]]
        if subprocess.run(list(map(str, command)), cwd=CHECKOUT.parent).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def where(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The device to measure on, and the facts of its machine."""
    from weft.backends.device import check_device
    from weft.bench import facts

    device = check_device(options.device)
    if device == "emulated":
        raise ValueError("expected a device whose time means something, cpu or cuda, got emulated")
    on_gpu = device != "cpu"
    return device, facts.machine() | (facts.gpu(int(device.partition(":")[2] or 0)) if on_gpu else {})


def named(options: argparse.Namespace, cases: Iterable[Any]) -> list[Any]:
    """The cases whose name holds what --match says. ValueError if none does."""
    found = [case for case in cases if options.match in str(case)]
    if not found:
        raise ValueError(f"expected --match to name a row, got {options.match!r}")
    return found


def row_by_row(
    options: argparse.Namespace,
    kind: str,
    found: dict[str, Any],
    cases: list[Any],
    measured: Callable[[Any], dict[str, Any]],
    said: Callable[[dict[str, Any]], str],
    **extra: Any,
) -> tuple[list[dict[str, Any]], Path]:
    """Measure each case, print it, and keep all so far, so that a run that is stopped leaves a report."""
    from weft.bench import report

    rows: list[dict[str, Any]] = []
    kept: Path | None = None
    for case in cases:
        rows.append(measured(case))
        print(said(rows[-1]), flush=True)
        kept = report.save(kind, found, rows, options.out, replaces=kept, **extra)
    if kept is None:
        raise ValueError(f"{kind}: expected cases, got none")
    return rows, kept


def gemm(options: argparse.Namespace) -> int:
    """Measure every product of the device, print and keep what came out."""
    from weft.bench import facts, report
    from weft.bench import gemm as products

    device, found = where(options)
    chosen = named(options, products.gpu_products() if device != "cpu" else products.cpu_products())
    facts.announce(f"Matrix products on {device}: median time, spread, error of Weft's against float64", found)
    rate = products.copy_rate(device)
    print(f"  copy: {rate / 1e9:.0f} GB/s read and written")
    columns: list[str] = []

    def said(row: dict[str, Any]) -> str:
        above = [] if columns else [report.heading(list(row["times"]))]
        columns[:] = columns or row["times"]
        return "\n".join([*above, report.line(row, columns)])

    measured = lambda product: products.measured(product, device, options.seconds)
    rows, path = row_by_row(options, "gemm", found, chosen, measured, said, copy_bytes_per_second=rate)
    print(f"  kept in {path}")
    try:
        picture = path.with_suffix(".png")
        report.roofline(rows, rate, found.get("gpu") or found["cpu"], picture)
        print(f"  drawn in {picture}")
    except ImportError:
        print("  no picture: matplotlib is not installed (pip install 'weft[examples]')")
    return 0


def train(options: argparse.Namespace) -> int:
    """Measure the training steps of the device, print and keep them, row by row."""
    from weft.bench import facts
    from weft.bench import train as training

    device, found = where(options)
    on_gpu = device != "cpu"
    works = list(training.gpu_workloads() if on_gpu else training.cpu_workloads())
    chosen = named(options, works)
    facts.announce(f"Training steps on {device}: median time, spread, rate, peak memory", found)
    measured = lambda work: training.measured(
        work, works.index(work), device, 4 * options.seconds, compiled=options.compile or on_gpu
    )
    _, kept = row_by_row(options, "train", found, chosen, measured, lambda row: "\n".join(training.lines(row)))
    print(f"  kept in {kept}")
    return 0


def conv(options: argparse.Namespace) -> int:
    """Measure every layer of ResNet-50 in its three passes, print and keep it, row by row."""
    from weft.bench import conv as convolutions
    from weft.bench import facts

    device, found = where(options)
    chosen = named(options, convolutions.gpu_layers() if device != "cpu" else convolutions.cpu_layers())
    facts.announce(f"ResNet-50's convolutions on {device}: rate, ratio to the best peer, median times", found)
    measured = lambda layer: convolutions.measured(layer, device, options.seconds)
    rows, kept = row_by_row(options, "conv", found, chosen, measured, convolutions.line)
    print("\n".join([*convolutions.summary(rows), f"  kept in {kept}"]))
    return 0


def attention(options: argparse.Namespace) -> int:
    """Measure attention over head dimensions, lengths and passes, print and keep it, row by row."""
    from weft.bench import attention as attending
    from weft.bench import facts

    device, found = where(options)
    chosen = named(options, attending.gpu_cases() if device != "cpu" else attending.cpu_cases())
    facts.announce(f"Attention on {device}: rate, ratio to the best peer, median times", found)
    measured = lambda case: attending.measured(case, device, options.seconds)
    _, kept = row_by_row(options, "attention", found, chosen, measured, attending.line)
    print(f"  kept in {kept}")
    return 0


def rowwise(options: argparse.Namespace) -> int:
    """Measure what only moves data against a copy, print and keep it, row by row."""
    from weft.bench import facts
    from weft.bench import rowwise as moving
    from weft.bench.gemm import copy_rate

    device, found = where(options)
    chosen = named(options, moving.gpu_cases() if device != "cpu" else moving.cpu_cases())
    copy = copy_rate(device)
    facts.announce(f"Kernels on rows on {device}, beside a copy of {copy / 1e9:.0f} GB/s read and written", found)
    measured = lambda case: moving.measured(case, device, options.seconds)
    said = lambda row: moving.line(row, copy)
    _, kept = row_by_row(options, "rowwise", found, chosen, measured, said, copy_bytes_per_second=copy)
    print(f"  kept in {kept}")
    return 0


def optim(options: argparse.Namespace) -> int:
    """Measure the optimizer steps of the device, print and keep what came out."""
    from weft.bench import facts
    from weft.bench import optim as steps
    from weft.bench.gemm import copy_rate

    device, found = where(options)
    chosen = named(options, steps.gpu_steps() if device != "cpu" else steps.cpu_steps())
    facts.announce(f"Optimizer steps on {device}: median time, spread, bytes per second beside a copy", found)
    rate = copy_rate(device)
    measured = lambda step: steps.measured(step, device, options.seconds)
    said = lambda row: steps.line(row, rate)
    _, kept = row_by_row(options, "optim", found, chosen, measured, said, copy_bytes_per_second=rate)
    print(f"  kept in {kept}")
    return 0


def kernels(options: argparse.Namespace) -> int:
    """What the compiler makes of kernels of the user's own, and how long they take on this machine."""
    from weft.bench import facts, kernel, report
    from weft.bench.gemm import copy_rate

    if len(options.names) < 2:
        raise ValueError("expected kernel FILE.py:NAME, got no name")
    device, found = where(options)
    on_gpu = device != "cpu"
    copy = copy_rate(device) if on_gpu else None
    for words in options.names[1:]:
        name, made = kernel.find(words)
        facts.announce(f"{name} on {device}", found)
        try:
            for text in kernel.compiled(made):
                print(text)
        except ImportError as error:
            print(f"  not compiled: {error}")
        rows = [row for dtype in kernel.dtypes(made) if (row := kernel.measured(made, dtype, device, options.seconds))]
        for row in rows:
            print(kernel.line(row, copy), flush=True)
        if not on_gpu:
            print("  times of the kernel itself need a GPU; NAME.check(...) runs it on the emulated device")
        if on_gpu:
            print(f"  kept in {report.save('kernel', found, rows, options.out)}")
    return 0


def history(folder: Path) -> int:
    """Draw how earlier reports compare; exit 1 where a row of the newest is slower by more than 5 %."""
    from weft.bench import history as earlier
    from weft.bench.report import file_name

    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder of reports, got {folder}: `weft bench gemm` makes one")
    reports = earlier.read(folder)
    if not reports:
        raise FileNotFoundError(f"expected reports in {folder}, got none: `weft bench gemm` makes them")
    slower = []
    for (kind, device), runs in reports.items():
        print(f"{kind} on {device}: {len(runs)} runs, {runs[0]['when'][:10]} to {runs[-1]['when'][:10]}")
        worse = earlier.regressions(runs)
        slower += worse
        for sentence in worse:
            print(f"  SLOWER {sentence}")
        if not worse and len(runs) > 1:
            print(f"  nothing is slower than before by more than {earlier.TOLERATED:.0%}")
        if len(runs) > 1:
            picture = folder / f"{kind}-{file_name(device)}-history.png"
            earlier.draw(runs, picture)
            print(f"  drawn in {picture}")
    return 1 if slower else 0


#: The benchmarks of the package: what each is, and what runs it.
OWN: dict[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
    "gemm": ("Matrix products beside cuBLAS (GPU) or NumPy and PyTorch (CPU): table, JSON, roofline.", gemm),
    "conv": ("Every layer of ResNet-50, forward and both gradients, beside cuDNN (GPU) or oneDNN (CPU).", conv),
    "attention": ("Head dimensions, lengths, causal or not, both passes, beside PyTorch's backends.", attention),
    "rowwise": ("Softmax, cross-entropy and norms: GB/s beside a copy, and beside PyTorch.", rowwise),
    "optim": ("Optimizer steps over all parameters beside PyTorch's, in bytes per second beside a copy.", optim),
    "train": ("Training steps of an MNIST CNN, ResNets and GPT-2 beside PyTorch, eager and compiled.", train),
}
