"""Writes the stubs that wheels ship: what `weft`, `weft.nn` and others export, said once more for type checkers.

A package's __init__.py imports its names from its modules, some late. Checkers in strict mode take none of that for an
export, so for each such package an __init__.pyi says `from weft.x import name as name`, worked out from the source.

    python tools/stubs.py FOLDER        # writes FOLDER/weft/__init__.pyi, FOLDER/weft/nn/__init__.pyi, ...
"""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "python"


@lru_cache(None)
def statements(path: Path) -> list[ast.stmt]:
    """The statements of a file."""
    return ast.parse(path.read_text(encoding="utf-8")).body


@lru_cache(None)
def exports(package: Path) -> dict[str, str]:
    """Name -> the line that imports it, of all that a package's __init__.py exports."""
    dotted = ".".join(package.relative_to(SOURCE).parts)
    found: dict[str, str] = {}
    for node in statements(package / "__init__.py"):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            for alias in node.names:
                name = alias.asname or alias.name
                within = SOURCE / Path(*node.module.split("."))
                if alias.name == "*" and within.is_dir():
                    found |= exports(within)
                elif alias.name == "*":  # of a module: what it defines is exported
                    found[node.module] = f"from {node.module} import *"
                elif not name.startswith("_") or name.startswith("__"):
                    found[name] = "from {} import {} as {}".format(*home(node.module, alias.name), name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            target = node.targets[0].id
            if target == "_LAZY":
                found |= {name: f"from {dotted} import {name} as {name}" for name in names(node.value)}
            elif target == "_LAZY_NAMES":
                for name, module in zip(names(node.value), map(ast.literal_eval, node.value.values)):
                    found[name] = f"from {dotted}.{module} import {name} as {name}"
            elif target.startswith("__") and target != "__all__":
                found[target] = f"{target}: str"
    return found


def home(module: str, name: str) -> tuple[str, str]:
    """The module in which a name is defined that `module` has, and what it is called there."""
    path = SOURCE / Path(*module.split("."))
    if (path / name).is_dir() or (path / f"{name}.py").exists():
        return module, name
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in statements(path) if path.exists() else ():
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return home(node.module, alias.name)
    return module, name


def names(node: ast.expr) -> list[str]:
    """The strings of a set or a dict's keys, or of `set("a b".split())`."""
    if isinstance(node, ast.Dict):
        return [ast.literal_eval(key) for key in node.keys]
    if isinstance(node, ast.Set):
        return [ast.literal_eval(item) for item in node.elts]
    return next(n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)).split()


def says_all(package: Path) -> bool:
    """Whether a package has an __all__ that checkers can read: one that is written out."""
    return any(
        isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "__all__"
        and isinstance(node.value, (ast.List, ast.Tuple))
        for node in statements(package / "__init__.py")
    )


def packages() -> list[Path]:
    """Those with names of their own and no such __all__."""
    found = [init.parent for init in sorted((SOURCE / "weft").rglob("__init__.py")) if "backends" not in init.parts]
    return [package for package in found if not says_all(package) and exports(package)]


def stub(package: Path) -> str:
    lines = sorted(set(exports(package).values()))
    if package.name == "weft":
        lines = ["from typing import Any", "", "import numpy as np", "", *lines, "", "bfloat16: np.dtype[Any]"]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> list[Path]:
    """Write every stub below `folder`; returns their paths."""
    written = []
    for package in packages():
        path = folder / package.relative_to(SOURCE) / "__init__.pyi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stub(package), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write(Path(sys.argv[1])):
        print(path)
