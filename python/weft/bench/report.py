"""What a benchmark leaves: a table on the terminal, a JSON file, a roofline picture."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

from weft.bench.timing import duration

UNSAFE = " /\\:+()"


def file_name(text: str) -> str:
    """`text` as part of a file's name."""
    return "".join("-" if c in UNSAFE else c for c in text)


def line(row: dict[str, Any], names: list[str]) -> str:
    """One row of the table: time of each contender with its spread, Weft's rate, the ratio to the best peer."""
    cells = []
    for name in names:
        t = row["times"].get(name)
        cells.append(f"{duration(t['median']):>9s} {swing(t):5s}" if t else f"{'-':>9s} {'':5s}")
    rate = row["flops"] / row["times"]["weft"]["median"]
    ratio = "     -" if row["ratio"] is None else f"{row['ratio']:5.2f}x"
    return f"  {row['what']:26s} {' '.join(cells)} {rate / 1e12:8.3g} TFLOP/s {ratio}  {row['errors']['weft']:.0e}"


def swing(t: dict[str, float]) -> str:
    """Half the distance from the 10th to the 90th percentile, in percent of the median."""
    return f"±{50 * (t['p90'] - t['p10']) / t['median']:.0f}%"


def heading(names: list[str]) -> str:
    cells = " ".join(f"{name:>9s} {'':5s}" for name in names)
    return f"  {'M x N x K, type, layout':26s} {cells} {'weft':>8s}         to best  error"


def save(
    kind: str, facts: dict[str, Any], rows: list[dict[str, Any]], folder: Path, *, replaces: Path | None = None,
    **extra: Any,
) -> Path:  # fmt: skip
    """Write the report beside earlier ones of its kind and device; the name tells device, time and commit.

    replaces: the path of the same report with fewer rows, which this one takes.
    """
    now = datetime.datetime.now(datetime.UTC)
    device = facts.get("gpu") or facts["cpu"]
    name = f"{kind}-{file_name(device)}-{now:%Y%m%dT%H%M%S}-{facts['commit'].rstrip('+') or 'none'}.json"
    path = replaces or folder / name
    folder.mkdir(parents=True, exist_ok=True)
    report = {"kind": kind, "device": device, "when": now.isoformat(timespec="seconds"), "machine": facts, **extra}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**report, "rows": rows}, indent=1) + "\n")
    os.replace(partial, path)
    return path


def roofline(rows: list[dict[str, Any]], bytes_per_second: float, device: str, path: Path) -> None:
    """Rates over arithmetic intensity, under the measured copy rate and the best measured product of each type."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
    colors = plt.get_cmap("tab10")
    intensities = [row["flops"] / row["bytes"] for row in rows]
    rates = [row["flops"] / t["median"] for row in rows for t in row["times"].values()]
    unit, scale = ("TFLOP/s", 1e12) if max(rates) >= 1e12 else ("GFLOP/s", 1e9)
    low, high = min(intensities) / 3, max(intensities) * 3
    for i, dtype in enumerate(dict.fromkeys(row["dtype"] for row in rows)):
        mine = [row for row in rows if row["dtype"] == dtype]
        best = max(row["flops"] / t["median"] for row in mine for t in row["times"].values())
        knee = min(best / bytes_per_second, high)
        roof = [low * bytes_per_second / scale, best / scale, best / scale]
        axes.plot([low, knee, high], roof, color=colors(i), lw=1, alpha=0.6)
        for name, marker in (("weft", "o"), ("best peer", "x")):
            across, up = [], []
            for row in mine:
                peers = [t["median"] for n, t in row["times"].items() if n != "weft"]
                seconds = row["times"]["weft"]["median"] if name == "weft" else min(peers, default=None)
                if seconds:
                    across.append(row["flops"] / row["bytes"])
                    up.append(row["flops"] / seconds / scale)
            if across:
                axes.scatter(across, up, color=colors(i), marker=marker, s=34, label=f"{dtype}, {name}")
    axes.set(xscale="log", yscale="log", xlabel="arithmetic intensity, FLOP per byte", ylabel=unit)
    axes.set_ylim(min(rates) / scale / 4, max(rates) / scale * 1.5)
    axes.set_title(
        f"Matrix products on {device}\nlines: measured copy rate {bytes_per_second / 1e9:.0f} GB/s, "
        "best measured product of each type",
        fontsize=10,
    )
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)
