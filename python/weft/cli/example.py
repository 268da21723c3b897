"""`weft example NAME`: run one of the examples; with no name, list them."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

from weft.recipes import example


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one; without it, they are listed")
    example.arguments(parser)


def run(options: argparse.Namespace) -> int:
    from weft.cli.train import load_file

    files = {path.stem: path for path in sorted(folder().glob("*.py"))}
    if options.name is None:
        width = max(map(len, files))
        print("\n".join(f"{name:{width}}  {title(path)}" for name, path in files.items() if is_example(path)))
        return 0
    if options.name not in files or not is_example(files[options.name]):
        raise ValueError(f"expected one of {', '.join(n for n, p in files.items() if is_example(p))}, "
                         f"got {options.name!r}")  # fmt: skip
    return example.perform(load_file(files[options.name], "run(example)").run, options.name, options)


def folder() -> Path:
    """Where the examples lie: in the installed package, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside, checkout = package / "examples", package.parents[1] / "examples"
    if inside.is_dir():
        return inside
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"expected the examples in {inside} or {checkout}, got no such folder")


def is_example(path: Path) -> bool:
    """Whether the file is one of those with figures and a picture: it has a function `run`. It is not executed."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in ast.parse(path.read_text()).body)


def title(path: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
