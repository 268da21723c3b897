"""Makes the models that come with Weft (python/weft/models/weights), or some: trains, stores, and tests what is stored.

    python tools/pretrained.py                       # all four, in some minutes on two cores; needs the data sets
    python tools/pretrained.py mnist-cnn --runs DIR  # of the run DIR/mnist-1, if it is there

The test figure is that of the stored weights, in the type in which they are stored.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
from pathlib import Path

import numpy as np

import weft
from weft.cli.runs import open_run
from weft.io.durable import write_durably
from weft.models.shipped import RECIPES, WEIGHTS, pretrained

LIMIT = 1 << 20  # bytes
DTYPES = {"digits-cnn": "float32", "mnist-cnn": "float16", "fashion-cnn": "float16", "date-translator": "float32"}
SEED = 0


def make(name: str, runs: Path) -> None:
    folder = runs / f"{RECIPES[name]}-1"
    if not folder.is_dir():
        importlib.import_module(f"weft.recipes.{RECIPES[name]}").run(seed=SEED, out=str(runs))
    recipe, settings, model = open_run(folder, "example")
    kind, path = np.dtype(DTYPES[name]), WEIGHTS / f"{name}.safetensors"
    state = {key: x.astype(kind) if x.dtype == np.float32 else x for key, x in model.state_dict().items()}
    WEIGHTS.mkdir(exist_ok=True)
    weft.save(path, state)
    if path.stat().st_size >= LIMIT:
        raise ValueError(f"{path}: expected less than {LIMIT} bytes, got {path.stat().st_size}")
    card = {
        "name": name, "recipe": settings["recipe"], "command": f"weft train {settings['recipe']} --seed {SEED}",
        "settings": {key: value for key, value in settings.items() if key in ("seed", "classes", "model", "epochs")},
        "parameters": sum(p.size for p in model.parameters()), "dtype": kind.name, "test": 0.0,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip
    write(name, card)
    card["test"] = tested(name)
    write(name, card)
    print(f"{name}: {path.stat().st_size:,} bytes, test {card['test']:.4f}")


def tested(name: str) -> float:
    """The share of the test split that the stored weights get right."""
    shipped = pretrained(name)
    if shipped.classes is None:
        return float(shipped.recipe.exact(shipped.model, shipped.recipe.make_dates(SEED)[-1]))
    test = shipped.recipe.split(shipped.recipe.load(), SEED)[-1]
    samples = [test[i] for i in range(len(test))]
    found = shipped.predict(np.stack([image for image, _ in samples]))
    return float((found == np.array([label for _, label in samples])).mean())


def write(name: str, card: dict[str, object]) -> None:
    write_durably(WEIGHTS / f"{name}.json", [(json.dumps(card, indent=2) + "\n").encode()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/pretrained"), help="where the runs are, or are made")
    options = parser.parse_args()
    for name in options.names or RECIPES:
        make(name, options.runs)
