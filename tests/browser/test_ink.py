"""The page prepares a drawing as Python does, to the rounding of one byte."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from policy import HANG, needs
from weft.recipes.common import Ink, center_ink

PAGE = Path(__file__).resolve().parents[2] / "python" / "weft" / "browser" / "page"
rng = np.random.default_rng()


def drawing(height, width, paper, ink):
    """A line of random corners with soft edges, on paper with some noise."""
    from PIL import Image, ImageDraw, ImageFilter

    image = Image.new("L", (width, height), paper)
    corners = [(int(x), int(y)) for x, y in zip(rng.integers(0, width, 5), rng.integers(0, height, 5))]
    ImageDraw.Draw(image).line(corners, fill=ink, width=int(rng.integers(1, 9)))
    grey = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.int64) + rng.integers(-3, 4, (height, width))
    return grey.clip(0, 255).astype(np.uint8)


def drawings():
    for size, margin in ((28, 4), (8, 0)):
        for height, width in ((64, 64), (57, 91), (120, 33), (7, 5), (280, 280)):
            for paper, ink in ((255, 0), (20, 240), (140, 90)):
                yield drawing(height, width, paper, ink), size, margin
        single = np.full((30, 30), 255, np.uint8)
        single[4, 9] = 0
        yield single, size, margin  # one dot
        ruled = np.zeros((40, 40), np.uint8)
        ruled[3:38, 20] = 255
        yield ruled, size, margin  # the thinnest line
        yield np.full((20, 30), 77, np.uint8), size, margin  # nothing


@needs("node", "PIL")
def test_the_page_prepares_a_drawing_as_python_does():
    cases = list(drawings())
    asked = []
    for grey, size, margin in cases:
        asked.append({"grey": base64.b64encode(grey).decode(), "height": grey.shape[0], "width": grey.shape[1],
                      "size": size, "margin": margin, **Ink(size, margin, 0.1307, 0.3081).affine()})  # fmt: skip
    command = ["node", Path(__file__).with_name("ink.mjs"), PAGE / "ink.js"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(cases)
    for (grey, size, margin), answer in zip(cases, answers):
        if answer is None:
            with pytest.raises(ValueError, match="one shade"):
                center_ink(grey, size, margin)
        else:
            want = Ink(size, margin, 0.1307, 0.3081).scaled(center_ink(grey, size, margin))
            found, byte = np.array(answer, np.float32), 1 / 255 / 0.3081
            np.testing.assert_allclose(found, want.reshape(-1), rtol=0, atol=1.01 * byte)
    assert sum(answer is None for answer in answers) >= 2
