"""The gallery: docs/gallery.md and its pictures, made from what the examples reached when they were run.

    python benchmarks/bench_examples.py && python benchmarks/gallery.py       # or: make gallery

Reads benchmarks/results/examples.json and the pictures of runs/gallery: of each example its default form, or its short
one where only that was run, and the figures of its full form where that was run too. An example without a new picture
keeps the one in docs/images/gallery.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from textwrap import fill
from typing import Any

import course
from bench_examples import KEPT, said
from bench_examples import PICTURES as DRAWN

from weft.cli.example import folder, is_example, title

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"
WIDTH, LARGEST, ALL = 1000, 60_000, 2_000_000  # pixels; bytes of a picture and of all
FIGURES = 4  # so many are told of each example


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=DRAWN, help="default: %(default)s")
    args = parser.parse_args()
    forms = json.loads(KEPT.read_text())["forms"]
    full = {row["example"]: row for row in forms.pop("full", {"rows": []})["rows"]}
    files = {path.stem: path for path in sorted(folder().glob("*.py")) if is_example(path)}
    rows = {row["example"]: row | {"form": form} for form in sorted(forms, reverse=True) for row in forms[form]["rows"]
            if row["example"] in files}  # fmt: skip
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, row in rows.items():
        drawn = args.pictures / row["form"] / name
        if row["pictures"] and (drawn / row["pictures"][0]).is_file():
            shrink(drawn / row["pictures"][0], PICTURES / f"{name}.png")
    for path in PICTURES.glob("*.png"):
        if path.stem not in rows:
            path.unlink()
    size = sum(path.stat().st_size for path in PICTURES.glob("*.png"))
    if size > ALL:
        raise ValueError(f"gallery: expected pictures of at most {ALL:,} bytes, got {size:,}")
    machine = (forms.get("default") or forms["short"])["machine"]
    PAGE.write_text(page(rows, full, files, machine))
    absent = [name for name in files if name not in rows]
    print(f"{PAGE.relative_to(ROOT)}: {len(rows)} examples, {size:,} bytes of pictures"
          + (f"; not run yet: {', '.join(absent)}" if absent else ""))  # fmt: skip
    return 0


def shrink(source: Path, target: Path) -> None:
    """A picture at most WIDTH wide, in as many colours as fit into LARGEST bytes."""
    from PIL import Image

    with Image.open(source) as opened:
        image = opened.convert("RGB")
    width = WIDTH
    while True:
        small = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
        for colours in (256, 128, 64, 32):
            out = io.BytesIO()
            # Rare colours are kept; each is then the mean of what it stands for.
            few = small.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
            few.save(out, "PNG", optimize=True)
            if out.tell() <= LARGEST:
                target.write_bytes(out.getvalue())
                return
        width = width * 4 // 5


def page(rows: dict[str, Any], full: dict[str, Any], files: dict[str, Path], machine: dict[str, Any]) -> str:
    """The whole of docs/gallery.md."""
    busy = machine["load"] > machine["cores"]
    introduction = INTRODUCTION.format(cores=machine["cores"], cpu=machine["cpu"], busy=BUSY if busy else "")
    if any(row["form"] == "short" for row in rows.values()):
        introduction += " Where it says --short, only that form was run, and its bars are lower."
    text = ["# Gallery", "", fill(introduction, 120), "", NOTEBOOK, "", "## The course", "", TABLE]
    text += [course_line(row, rows, files) for row in course.ROWS]
    in_order = sorted(rows, key=lambda name: (course.row_of(name) or 99, name))
    for name in in_order:
        text += ["", *entry(name, rows[name], title(files[name]), busy)]
        if name in full:
            text += ["", *reached(name, "full", full[name], busy)]
    return "\n".join(text) + "\n"


def course_line(row: course.Row, rows: dict[str, Any], files: dict[str, Path]) -> str:
    links = [f"[{name}](#{name})" if name in rows else f"[{name}](../examples/{name}.py)"
             for name in row.examples if name in files]  # fmt: skip
    links += [f"[{Path(path).name}]({link(path)})" for path in row.beside if (ROOT / path).exists()]
    return f"| {row.number} | {row.promise} | {', '.join(links) or 'not yet'} |"


def link(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"


def entry(name: str, row: dict[str, Any], about: str, busy: bool) -> list[str]:
    number = course.row_of(name)
    lines = [
        f"### {name}",
        "",
        f"{about} [Its file](../examples/{name}.py)" + (f", row {number}." if number else "."),
        "",
    ]
    if (PICTURES / f"{name}.png").exists():
        lines += [f"![{name}](images/gallery/{name}.png)", ""]
    return lines + reached(name, row["form"], row, busy)


def reached(name: str, form: str, row: dict[str, Any], busy: bool) -> list[str]:
    """How long a form took, and its first figures."""
    command = f"weft example {name}" + (f" --{form}" if form != "default" else "")
    if "failed" in row:
        return [f"`{command}` did not run here: {row['failed']}"]
    figures = list(row["figures"].items())
    took = f"{row['cpu_seconds']:.0f} s of CPU" + ("" if busy else f", {row['seconds']:.0f} s")
    lines = [f"`{command}`, {took}:", ""]
    lines += [f"- {said(key, figure)}" for key, figure in figures[:FIGURES]]
    return lines + ([f"- {len(figures) - FIGURES} more figures"] if len(figures) > FIGURES else [])


INTRODUCTION = """\
Each picture is what its example draws, and each figure what it reached, run as `weft example NAME` on {cores} cores of
an {cpu}{busy} and kept in benchmarks/results/examples.json. In brackets stands the bar that fails the run when it is
not held, behind it what others reach on the same data. `make gallery` runs all examples and makes this page;
`weft example NAME --full` takes the means of several seeds or splits."""
NOTEBOOK = "To begin with: [the quick-start notebook](../examples/quickstart.ipynb)."
BUSY = ", which other programs kept busy (so only the time of the processor is told),"
TABLE = "| row | what works | shown by |\n|---|---|---|"

if __name__ == "__main__":
    sys.exit(main())
