"""Loading a trained run: its recipe, its settings and its model."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from weft.cli.train import find_recipe


def is_shipped(folder: Path | str) -> bool:
    """Whether this is the name of a pretrained model; a run in a folder of that name comes first."""
    from weft.models.shipped import RECIPES

    return str(folder) in RECIPES and not (Path(folder) / "config.json").exists()


def folder_of(folder: Path | str) -> Path:
    """Where what is made of a run is put: its own folder, that of a pretrained model among the runs."""
    return Path("runs") / folder if is_shipped(folder) else Path(folder)


def open_run(folder: Path | str, needed: str) -> tuple[ModuleType, dict[str, Any], Any]:
    """(recipe, settings, model in eval mode) of a run, or of a pretrained model by its name.

    ValueError if the recipe has no function `needed`.
    """
    import weft
    from weft.models.shipped import pretrained
    from weft.recipes.common import read_config

    shipped = pretrained(str(folder)) if is_shipped(folder) else None
    folder = Path(folder)
    settings = {"recipe": shipped.card["recipe"], **shipped.card["settings"]} if shipped else read_config(folder)
    recipe = find_recipe(settings["recipe"])
    for name in ("build", needed):
        if not callable(getattr(recipe, name, None)):
            raise ValueError(f"{folder}: expected a run whose recipe has {name}(), got one of {settings['recipe']}")
    if shipped:
        return recipe, settings, shipped.model
    model = recipe.build(**settings.get("model", {}))
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise FileNotFoundError(f"expected the weights in {weights}, got no such file; is the run still training?")
    model.load_state_dict(weft.load(weights))
    return recipe, settings, model.eval()
