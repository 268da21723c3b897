"""Every name of Weft's on the page for newcomers exists."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "coming-from.md"
NAMES = sorted(set(re.findall(r"`(weft(?:\.\w+)+)`", PAGE.read_text())))


def find(path):
    """What a dotted name stands for: the longest part that imports, then attributes."""
    parts = path.split(".")
    for k in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:k]))
        except ImportError:
            continue
        for name in parts[k:]:
            thing = getattr(thing, name)
        return thing
    raise ImportError(path)


@pytest.mark.parametrize("name", NAMES)
def test_it_exists(name):
    assert find(name) is not None


def test_all_of_the_frameworks_are_there():
    text = PAGE.read_text()
    for framework in ("PyTorch", "Keras", "TensorFlow", "JAX", "Caffe", "MXNet"):
        assert re.search(rf"^## .*{framework}", text, re.MULTILINE), framework
    assert len(NAMES) > 90
    with pytest.raises(AttributeError):
        find("weft.nn.Lineer")
