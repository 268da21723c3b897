"""Models that come with Weft: trained by its own recipes, small, and checked against their hash when they are loaded.

Beside the weights of each, in weights/, lies a JSON that says which recipe, seed and command made them, and what share
of the test split they get right. `python tools/pretrained.py` makes them anew.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from weft.autograd import no_grad
from weft.io.state import load

WEIGHTS = Path(__file__).parent / "weights"
RECIPES = {"digits-cnn": "digits", "mnist-cnn": "mnist", "fashion-cnn": "fashion", "date-translator": "dates"}


class Shipped:
    """A trained model with what it needs to be asked at once.

    model: the module, in eval mode. recipe: the module that made it. classes: the names of its classes, or None.
    card: what is known of it: sha256, recipe, settings, seed, command, parameters, dtype, test.
    """

    def __init__(self, name: str, recipe: Any, model: Any, card: dict[str, Any]):
        self.name, self.recipe, self.model, self.card = name, recipe, model, card
        self.classes: list[str] | None = card["settings"].get("classes")

    def __repr__(self) -> str:
        return (
            f"<{self.name}: {self.card['parameters']:,} parameters, {100 * self.card['test']:.2f} % of its test split>"
        )

    def transform(self, images: Any) -> Any:
        """Images as the model takes them: uint8, or float32 in 0..1, (N, H, W) or (N, 1, H, W) -> (N, 1, H, W).

        Paths of pictures, one or a list, are read and prepared as `weft predict` does. ValueError for other shapes, and
        for floats that are not in 0..1.
        """
        if isinstance(images, (str, Path)):
            images = [images]
        if isinstance(images, (list, tuple)) and images and all(isinstance(path, (str, Path)) for path in images):
            return np.stack([self.recipe.prepare(path) for path in images])
        wanted = next(iter(self.recipe.example()[0].values())).shape[1:]
        array = np.asarray(images.numpy() if hasattr(images, "numpy") else images)
        array = array[:, None] if array.ndim == len(wanted) else array
        if array.shape[1:] != wanted:
            shapes = f"(N, {', '.join(map(str, wanted[1:]))}) or (N, {', '.join(map(str, wanted))})"
            raise ValueError(f"{self.name}: expected images {shapes}, got {np.shape(images)}")
        if array.dtype == np.uint8:
            array = array.astype(np.float32) / np.float32(255)
        elif array.size and not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"{self.name}: expected uint8, or floats in 0..1, got {array.dtype} from {array.min()} "
                             f"to {array.max()}")  # fmt: skip
        scale = getattr(self.recipe, "SCALE", None)
        return array.astype(np.float32) if scale is None else scale(array.astype(np.float32))

    def probabilities(self, images: Any) -> np.ndarray[Any, Any]:
        """The probability of every class, float32 (N, classes); images as `transform` takes them."""
        import weft
        from weft.nn import functional as F

        if self.classes is None:
            raise ValueError(f"{self.name}: expected a model of classes, got one that writes; predict(texts) asks it")
        inputs = self.transform(images)
        with no_grad():
            parts = [F.softmax(self.model(weft.asarray(inputs[i : i + 500])), dim=1).numpy()
                     for i in range(0, len(inputs), 500)]  # fmt: skip
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def predict(self, inputs: Any) -> Any:
        """The likeliest class of each image, int64 (N,), whose names are `classes`; or the answer to each text, a list.

        >>> weft.models.pretrained("date-translator").predict(["3rd of march 2021"])        # doctest: +SKIP
        ['2021-03-03']
        """
        if self.classes is not None:
            return self.probabilities(inputs).argmax(axis=1)
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        return [self.recipe.generate(self.model, self.card["settings"], text) for text in texts]


def pretrained(name: str) -> Shipped:
    """A trained model that comes with Weft: digits-cnn, mnist-cnn, fashion-cnn or date-translator.

    Nothing is fetched. ValueError for another name, or if the weights are not those whose SHA-256 is written down.

    >>> digits = weft.models.pretrained("digits-cnn")
    >>> digits.predict(weft.zeros((2, 8, 8))).shape
    (2,)
    """
    if name not in RECIPES:
        raise ValueError(f"pretrained: expected one of {', '.join(RECIPES)}, got {name!r}")
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    path = WEIGHTS / f"{name}.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != card["sha256"]:
        raise ValueError(f"pretrained: expected {path} with SHA-256 {card['sha256']}, got {found}; install Weft anew")
    recipe = importlib.import_module(f"weft.recipes.{RECIPES[name]}")
    model = recipe.build(**card["settings"].get("model", {}))
    # Floats are stored in the card's dtype and computed in float32.
    state = {key: x.astype(np.float32) if x.dtype.kind in "fV" else x for key, x in load(path).items()}
    model.load_state_dict(state)
    return Shipped(name, recipe, model.eval(), card)
