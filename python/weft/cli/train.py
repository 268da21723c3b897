"""`weft train RECIPE...`: train, one after another, and end with one table of what each reached."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import pkgutil
import sys
import time
from pathlib import Path
from types import ModuleType

SHARED = ("common", "example", "numerals")  # modules among the recipes that are none
DTYPES = {"bf16": "bfloat16", "f16": "float16"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help=f"{', '.join(names())}, or a file like them")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; default: a GPU where there is one")
    parser.add_argument("--epochs", type=int, help="how often the training data is seen (default: the recipe's)")
    parser.add_argument("--steps", type=int, help="train for so many optimizer steps instead of epochs")
    parser.add_argument("--autocast", choices=list(DTYPES), help="run products in bfloat16 or float16 (weft.autocast)")
    parser.add_argument("--seed", type=int, help="of split, weights, order and augmentation (default 0)")
    parser.add_argument("--data", metavar="DIR", help="where the data sets are (default: WEFT_DATA, a cache folder)")
    parser.add_argument("--out", metavar="DIR", help="where the run's folder is made (default: runs)")
    parser.add_argument("--resume", action="store_true", help="go on with the latest run where it stopped")


def run(options: argparse.Namespace) -> int:
    from weft.train.progress import table

    given = {key: value for key, value in vars(options).items() if key != "recipes" and value is not None}
    if not options.resume:
        given.pop("resume")
    elif given.keys() & {"epochs", "steps", "autocast", "seed"}:
        raise ValueError("expected --resume without --epochs, --steps, --autocast, --seed: a resumed run keeps its own")
    if {"epochs", "steps"} <= given.keys():
        raise ValueError("expected --epochs or --steps, got both")
    for name in ("epochs", "steps"):
        if name in given and given[name] < 1:
            raise ValueError(f"expected --{name} >= 1, got {given[name]}")
    if "autocast" in given:
        given["autocast"] = DTYPES[given["autocast"]]
    recipes = [find_recipe(name) for name in options.recipes]
    results = []
    for recipe in recipes:
        begun = time.perf_counter()
        results.append({**recipe.run(**given), "seconds": time.perf_counter() - begun})
        print()
    print(table(results))
    return 0


def names() -> list[str]:
    """The recipes that come with Weft."""
    import weft.recipes

    return sorted(m.name for m in pkgutil.iter_modules(weft.recipes.__path__) if m.name not in SHARED)


def find_recipe(name: str) -> ModuleType:
    """The recipe of that name, or the one in that file; ValueError names the recipes there are."""
    if name in names():
        return importlib.import_module(f"weft.recipes.{name}")
    path = Path(name)
    if path.suffix != ".py":
        raise ValueError(f"expected one of {', '.join(names())}, or the path of a .py file, got {name!r}")
    if not path.is_file():
        raise FileNotFoundError(f"expected a recipe in {path}, got no such file")
    return load_file(path, "run(device, epochs, seed, data, out, resume, ...)")


def load_file(path: Path, wanted: str) -> ModuleType:
    """The module in a file of a user's own; ValueError if it has no function `run`, told as `wanted`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "run", None)):
        raise ValueError(f"expected a function {wanted} in {path}, got none")
    return module
