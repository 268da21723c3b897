"""Imports point one way, and `import weft` loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "weft"

# Each room of the house, from the ground up; a module may import rooms that stand before it, and its own.
LAYERS = (
    ("backends.registry",),
    ("backends.array",),
    ("backends.linalg",),
    ("backends.device",),
    ("backends.reference",),
    ("backends.cpu",),
    ("backends.gpu",),
    ("autograd",),
    ("random",),
    ("ops",),
    ("linalg", "fft"),
    ("methods", "gradients", "testing", "casting", "interop"),
    ("custom",),
    ("nn",),
    ("guard", "einops", "profiling", "profile_report"),
    ("optim",),
    ("captured",),
    ("io",),
    ("metrics", "data"),
    ("vision",),
    ("models",),
    ("train", "sklearn"),
    ("keras",),
    ("recipes",),
    ("onnx", "tfjs"),
    ("browser",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

HEAVY = set("cupy matplotlib numba onnx onnxruntime PIL safetensors scipy sklearn torch tqdm".split())


def room(module: str) -> str | None:
    """The room of a dotted module name inside weft, or None for the package itself and what has no place."""
    parts = module.split(".")[1:]
    for length in (2, 1):
        name = ".".join(parts[:length])
        if name in RANK:
            return name
    return None


def module_name(path: Path) -> str:
    parts = ["weft", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_top(path: Path):
    """The weft modules that `path` imports when it is loaded: imports inside functions load late and may point up."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    pending = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_imports_point_down(path):
    here = room(module_name(path))
    if here is None:
        return
    for name in imports_at_top(path):
        there = room(name) if name.startswith("weft.") else None
        if there is not None:
            assert RANK[there] < RANK[here] or there == here, f"{module_name(path)} imports {name}, from above it"


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sorted(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("statement", ["import weft", "import weft.cli"])
def test_nothing_heavy_is_loaded(statement):
    assert not loaded_by(statement) & HEAVY


def test_the_parts_load_on_first_use():
    loaded = loaded_by("import weft")
    parts = "nn optim data train metrics io linalg fft keras cli".split()
    assert not {f"weft.{part}" for part in parts} & loaded
    assert "weft.nn" in loaded_by("import weft; weft.nn")
