"""Matrix products, maps and sums on every instruction set and number of threads, and what they refuse."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import weft
from policy import needs
from weft.backends import reference as K

CHECKS = Path(__file__).with_name("kernel_checks.py")
pytestmark = needs("native")


def isas():
    try:
        from weft import _cpu
    except ImportError:
        return ["v1"]
    return _cpu.supported_isas()


def run(*arguments, **settings):
    """The output of kernel_checks.py in a process with these WEFT_* settings."""
    environment = os.environ | {f"WEFT_{name}": str(value) for name, value in settings.items()}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # the float64 products must not take turns with our threads
    paths = [str(Path(weft.__file__).parents[1]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    done = subprocess.run([sys.executable, CHECKS, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


@pytest.mark.parametrize("isa", isas())
def test_kernels_are_right(isa):
    assert run(ISA=isa) == [isa, str(weft_threads()), "right"]


@pytest.mark.parametrize("threads", [5])
def test_kernels_are_right_with_threads(threads):
    assert run(NUM_THREADS=threads)[1:] == [str(threads), "right"]


@pytest.mark.parametrize("isa", isas())
def test_results_do_not_depend_on_threads(isa):
    assert len({run("digest", ISA=isa, NUM_THREADS=n)[2] for n in (1, 2, 5)}) == 1


def weft_threads():
    from weft import _cpu

    return _cpu.num_threads()


def test_every_float32_product_runs_here():
    x = np.ones((2, 2), np.float32)
    assert weft.which("matmul", x, x) == "cpu.matmul" or K.matmul.select((x, x)) is not K.matmul.reference
    assert K.matmul.select((x.astype("d"), x.astype("d"))) is K.matmul.reference


@pytest.mark.parametrize("a, b", [((2, 3), (2, 3)), ((3,), (2,)), ((2, 2, 3), (3, 3, 2)), ((), (2, 2))])
def test_shapes_that_do_not_fit(a, b):
    from weft import _cpu

    with pytest.raises(ValueError, match=r"matmul: expected .* got \("):
        _cpu.matmul(np.ones(a, np.float32), np.ones(b, np.float32))


def test_linear_names_what_is_wrong():
    from weft import _cpu

    x, w = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"linear: expected x .* got \(2, 3\) and \(3, 4\)"):
        _cpu.linear(x, np.ones((3, 4), np.float32), None)
    with pytest.raises(ValueError, match=r"linear: expected bias \(4,\)"):
        _cpu.linear(x, w, np.ones(3, np.float32))
    with pytest.raises(TypeError, match="float32"):
        _cpu.linear(x, w, np.ones(4))


def test_a_wrong_instruction_set_is_named():
    with pytest.raises(AssertionError, match=r"WEFT_ISA: expected one this processor has \(.*v1\), got v9"):
        run(ISA="v9")


def test_namespace_hands_the_rest_to_numpy():
    """Large arrays that the kernels do not cover give NumPy's own result."""
    from weft.backends import array as xp

    x = np.random.default_rng(0).standard_normal((200, 300)).astype(np.float32)
    for y in (x, x.T, x[::2], x.astype("d"), x.astype(np.float16), (x * 100).astype(np.int64)):
        rough = 3e-7 if y.itemsize > 2 else 2e-3
        np.testing.assert_array_equal(xp.add(y, y), np.add(y, y))
        np.testing.assert_array_equal(xp.multiply(y, 2), np.multiply(y, 2))
        np.testing.assert_allclose(xp.exp(np.minimum(y, 3)), np.exp(np.minimum(y, 3)), rtol=rough)
        magnitude = np.abs(y.astype("d")).sum(axis=0)
        assert (np.abs(xp.sum(y, axis=0) - y.astype("d").sum(axis=0)) <= rough * magnitude).all()
        assert abs(xp.mean(y) - y.astype("d").mean()) <= rough * magnitude.max()
        assert xp.sum(y, axis=(0, 1)).dtype == y.dtype and xp.add(y, y).dtype == y.dtype
    with pytest.raises(np.exceptions.AxisError):
        xp.sum(x, axis=2)
