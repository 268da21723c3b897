"""Three epochs of `fit` end where Keras's end, on PyTorch: the same figures by the same names, the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policy import needs


@pytest.mark.slow
@needs("keras", "torch")
def test_fit_ends_where_keras_s_ends():
    program = Path(__file__).parent.parent / "keras_fit.py"
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run([sys.executable, "-P", program], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == ["images", "words", "sequences"]
    for name, model in found.items():
        assert model["names"][0] == model["names"][1], name
        assert model["figures"] < 1e-4 and model["weights"] < 1e-4, (name, model)
