"""Every example in a process of its own: figures against their bars, seconds, CPU seconds; --short or --full.

    python benchmarks/bench_examples.py --short neuron deep

Names choose some; what earlier runs of the same form kept of the others stays in benchmarks/results/examples.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import course
import harness

from weft.cli.example import folder, is_example
from weft.recipes.example import FORMS, Figure, shown, unit_after

LIBRARIES = ("numpy", "scikit-learn", "matplotlib", "pillow")
KEPT = harness.RESULTS / "examples.json"
PICTURES = Path("runs/gallery")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of examples/")
    form = parser.add_mutually_exclusive_group()
    for name in FORMS:
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="default")
    parser.add_argument("--out", type=Path, help="of pictures (default: runs/gallery/FORM)")
    args = parser.parse_args()
    out = args.out or PICTURES / args.form
    known = {path.stem: path for path in sorted(folder().glob("*.py")) if is_example(path)}
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"expected some of {', '.join(known)}, got {unknown[0]}")
    facts = harness.announce(f"Examples, {args.form} form")
    facts["libraries"] = {name: metadata.version(name) for name in LIBRARIES}
    rows: dict[str, Any] = {row["example"]: row for row in earlier(args.form) if row["example"] in known}
    for name in sorted(args.names or known, key=lambda name: (course.row_of(name) or 99, name)):
        rows[name] = performed(name, known[name], args.form, out) | {"commit": facts.get("commit")}
        print(line(rows[name]), flush=True)
        ordered = sorted(rows.values(), key=lambda row: (row["row"] or 99, row["example"]))
        save(args.form, facts, ordered)
    fallen = [row["example"] for row in rows.values() if not row["held"]]
    print(f"  {len(rows) - len(fallen)} of {len(rows)} hold{'; not: ' + ', '.join(fallen) if fallen else ''}")
    print(f"  kept in {KEPT.relative_to(KEPT.parents[2])}")
    return 1 if fallen else 0


def performed(name: str, path: Path, form: str, out: Path) -> dict[str, Any]:
    """Run one example; its record, with how it ended."""
    record = out / name / "figures.json"
    record.unlink(missing_ok=True)
    command = [sys.executable, str(path), "--out", str(out), *([f"--{form}"] if form != "default" else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    row = {"row": course.row_of(name), "example": name, "held": done.returncode == 0}
    if record.exists():
        found = json.loads(record.read_text())
        return row | {key: found[key] for key in ("seconds", "cpu_seconds", "figures", "pictures")}
    lines = done.stderr.strip().splitlines() or ["no figures"]
    reason = "data is missing" if done.returncode == os.EX_NOINPUT else lines[-1]
    return row | {"seconds": None, "cpu_seconds": None, "figures": {}, "pictures": [], "failed": reason}


def earlier(form: str) -> list[dict[str, Any]]:
    """The rows that a run of this form has kept."""
    return json.loads(KEPT.read_text())["forms"].get(form, {}).get("rows", []) if KEPT.exists() else []


def save(form: str, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the rows of one form; those of the other forms stay."""
    forms = json.loads(KEPT.read_text())["forms"] if KEPT.exists() else {}
    forms[form] = {"machine": facts, "rows": rows}
    KEPT.write_text(json.dumps({"forms": {name: forms[name] for name in FORMS if name in forms}}, indent=1) + "\n")


def line(row: dict[str, Any]) -> str:
    """A row of the table, and below it one line for each figure."""
    number = "-" if row["row"] is None else row["row"]
    head = f"  {number:>2}  {row['example']:26s} {'holds' if row['held'] else 'FALLS SHORT'}"
    if "failed" in row:
        return f"{head}: {row['failed']}"
    head += f"  {row['seconds']:.1f} s, {row['cpu_seconds']:.1f} s of CPU"
    return "\n".join([head, *(f"        {said(name, figure)}" for name, figure in row["figures"].items())])


def said(name: str, kept: dict[str, Any]) -> str:
    """A figure as a line: its value, its bar, what stands beside it."""
    figure = Figure(**kept)
    text = f"{name}: {shown(figure.value)}{unit_after(figure.unit)}"
    text += f" ({figure.bar}{'' if figure.holds else ': FALLS SHORT'})" if figure.bar else ""
    others = ", ".join(f"{name} {shown(value)}" for name, value in figure.beside.items())
    return text + (f"; beside it {others}" if others else "")


if __name__ == "__main__":
    sys.exit(main())
