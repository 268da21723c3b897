"""What a test may need, and when its absence is a skip and when a failure.

    from policy import needs

    @needs("torch")                      # a module, "native" (the C++ extension), "emulator", "nvrtc", "nvdisasm",
    def test_against_torch(): ...        # "g++", "cuda.h", "gpu", "cupy", "node", "chromium", "npm/tfjs", "data/mnist"

With WEFT_DATA set or CI=true nothing that this project can install or was given may be missing: the test fails. A GPU
is never a failure, nor CuPy, which only a GPU needs, nor an extension that WEFT_NATIVE=0 turns off, nor what Python's
package index has not: node, a browser, and the libraries that pages fetch from npm (tools/browser.sh gets them all).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

STRICT = bool(os.environ.get("WEFT_DATA")) or os.environ.get("CI") == "true"
ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WEFT_DATA") or ROOT.parent / "shared" / "data")
HANG = 900  # seconds after which another process counts as hung: on a busy machine it may stand still for minutes


def x86_linux() -> bool:
    """Whether this is the system that the emulated device and CUDA's wheels of the extra `test` are for."""
    return (sys.platform, platform.machine()) == ("linux", "x86_64")


def tool(name: str) -> str | None:
    """The path of one of CUDA's binary tools: from its wheel, else from PATH."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        found = sorted(Path(root).glob(f"cu1?/bin/{name}"))
        if found:
            return str(found[-1])
    return shutil.which(name)


def cuda_headers() -> Path | None:
    """The folder of CUDA's headers, of the runtime's and the compiler's wheels together, or None."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for header in sorted(Path(root).glob("*/include/cuda.h")):
            if (header.parent / "crt" / "host_defines.h").exists() and (header.parent / "cccl").exists():
                return header.parent
    return None


def needs(*names: str) -> pytest.MarkDecorator:
    """The mark of a test that needs every one of `names`."""
    return pytest.mark.needs(*names)


def mostly_slow(cases: Iterable[Any], runs: Callable[[Any], bool]) -> list[Any]:
    """Parameters of a test: those for which `runs` does not hold are left to the slow cases."""
    return [case if runs(case) else pytest.param(case, marks=pytest.mark.slow) for case in cases]


def installed(name: str) -> bool:
    """Whether a module is here, without importing it; a folder of these tests that has its name is none."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def missing(name: str) -> tuple[str, bool] | None:
    """None if `name` is here, else (why it is not, whether a skip is allowed even in strict mode)."""
    if name == "native":
        if os.environ.get("WEFT_NATIVE") == "0":
            return "the C++ extension is turned off by WEFT_NATIVE=0", True
        if importlib.util.find_spec("weft._cpu") is None:
            return "the C++ extension is not built (make native; weft doctor says why)", False
    elif name == "emulator":
        if not list((ROOT / "python" / "weft").glob("libweft_emulator.*")) or shutil.which("g++") is None:
            return "the emulated device is not built (x86-64 Linux with g++; make native)", not x86_linux()
    elif name == "gpu":
        if shutil.which("nvidia-smi") is None:
            return "no NVIDIA driver on this machine", True
    elif name == "nvrtc":
        from weft.backends import nvrtc

        try:
            nvrtc.library()
        except ImportError:
            return "NVIDIA's runtime compiler is not installed (pip install 'weft[test]')", not x86_linux()
    elif name == "g++":
        if shutil.which("g++") is None:
            return "g++ is not installed", not x86_linux()
    elif name == "cuda.h":
        if cuda_headers() is None:
            return "CUDA's headers are not installed (pip install 'weft[test]')", not x86_linux()
    elif name == "cupy":
        if importlib.util.find_spec(name) is None:
            return "CuPy is not installed (pip install 'weft[cuda13]')", True
    elif name == "nvdisasm":
        if tool("nvdisasm") is None:
            return "nvdisasm is not installed (pip install 'weft[test]')", not x86_linux()
    elif name == "node":
        if shutil.which("node") is None:
            return "node is not installed (on Debian: apt-get install nodejs)", True
    elif name == "chromium":
        from weft.browser import chromium

        if chromium.find() is None:
            return "no Chromium on this machine (on Debian: apt-get install chromium)", True
    elif name.startswith("npm/"):
        from weft.browser import runtime

        engine = name.removeprefix("npm/")
        if not runtime.is_here(engine):
            return f"{runtime.PACKAGES[engine][0].source.path} was not fetched (tools/browser.sh)", True
    elif name.startswith("data/"):
        if not (DATA / name.removeprefix("data/")).exists():
            return f"no {name.removeprefix('data/')} in {DATA} (set WEFT_DATA)", False
    elif not installed(name):
        extra = {
            "torch": "peers",
            "jax": "peers",
            "keras": "peers",
            "tokenizers": "peers",
            "transformers": "peers",
            "sklearn": "examples",
            "scipy": "examples",
            "mypy": "lint",
            "matplotlib": "examples",
            "PIL": "examples",
        }.get(name, "test")
        return f"{name} is not installed (pip install 'weft[{extra}]')", False
    return None


def require(*names: str) -> None:
    """Skip, or fail where nothing may be skipped, unless every one of `names` is here."""
    for name in names:
        lack = missing(name)
        if lack is not None:
            reason, allowed = lack
            if STRICT and not allowed:
                pytest.fail(f"{reason}, and with WEFT_DATA or CI set that is a failure", pytrace=False)
            pytest.skip(reason)


def unexcused(reason: str) -> bool:
    """True for a skip that strict mode turns into a failure: a module that `pytest.importorskip` did not find."""
    return STRICT and "could not import" in reason
