"""Earlier reports of a folder: how each row's time moved, drawn, and what became slower since."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

TOLERATED = 0.05  # a row that is slower than before by more is named


def read(folder: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(kind, device) -> its reports, oldest first. Files that are no reports are left out; a broken one raises."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("*.json")):
        try:
            report = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"history: expected JSON in {path}, got {error}") from error
        if isinstance(report, dict) and {"kind", "device", "when", "rows"} <= set(report):
            found[report["kind"], report["device"]].append({**report, "path": path})
    return {key: sorted(reports, key=lambda r: r["when"]) for key, reports in sorted(found.items())}


def standing(row: dict[str, Any]) -> float:
    """Weft's time over the best peer's of the same run, which cancels the machine's mood; without a peer, its time."""
    return 1.0 / row["ratio"] if row.get("ratio") else float(row["times"]["weft"]["median"])


def regressions(reports: list[dict[str, Any]], tolerated: float = TOLERATED) -> list[str]:
    """A sentence for each row of the newest report that stands worse than in the one before by more than `tolerated`.

    A change within both runs' spread is no regression.
    """
    if len(reports) < 2:
        return []
    before = {row["what"]: row for row in reports[-2]["rows"]}
    found = []
    for row in reports[-1]["rows"]:
        old = before.get(row["what"])
        if old is None or (old.get("ratio") is None) != (row.get("ratio") is None):
            continue
        change = standing(row) / standing(old) - 1
        if change > tolerated and row["times"]["weft"]["p10"] > old["times"]["weft"]["median"]:
            found.append(
                f"{row['what']}: {change:.0%} slower than at {reports[-2]['machine']['commit'] or 'the run before'}"
            )
    return found


def draw(reports: list[dict[str, Any]], path: Path) -> None:
    """Weft's time over the best peer's, run by run, one line per row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    labels = [f"{r['when'][:10]}\n{r['machine']['commit']}" for r in reports]
    names = list(dict.fromkeys(row["what"] for r in reports for row in r["rows"]))
    for i, name in enumerate(names):
        points = [
            (x, 1 / standing(row))
            for x, r in enumerate(reports)
            for row in r["rows"]
            if row["what"] == name and row.get("ratio")
        ]
        if points:
            axes.plot(*zip(*points), marker="o", ms=3, lw=1, color=plt.get_cmap("tab20")(i % 20), label=name)
    axes.axhline(1.0, color="black", lw=0.8)
    axes.set_xticks(range(len(labels)), labels, fontsize=7)
    axes.set(ylabel="best peer's time over Weft's (above 1: Weft is faster)", title=reports[-1]["device"])
    axes.legend(fontsize=6, ncols=2)
    figure.savefig(path, dpi=130)
    plt.close(figure)
