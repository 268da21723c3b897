"""SciPy's and scikit-learn's functions take Tensors by the array API and give Tensors back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from policy import HANG, needs

NUMBERS = {"accuracy_score", "r2_score", "f1_score"}  # what gives Python's numbers whatever it is given


@pytest.mark.parametrize("library", [pytest.param("scipy", marks=needs("scipy")),
                                     pytest.param("sklearn", marks=[needs("sklearn"), pytest.mark.slow])])  # fmt: skip
def test_dispatch(library):
    script = Path(__file__).with_name("dispatch_calls.py")
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    command = [sys.executable, str(script), library]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert len(lines) >= 14
    wrong = {name: said for name, said in lines.items() if said != ("float" if name in NUMBERS else "Tensor") + ", ok"}
    assert wrong == {}
