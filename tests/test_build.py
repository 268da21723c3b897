"""Installing without a working compiler: plain NumPy, and the reason kept for `weft doctor`."""

import os
import shutil
import subprocess
import sys

import pytest

import policy
from policy import needs


@needs("setuptools")
@pytest.mark.parametrize("required", [False, True])
def test_broken_compiler(tmp_path, required):
    if not (policy.ROOT / "setup.py").exists():
        pytest.skip("the tests run outside a checkout")
    for name in ("setup.py", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(policy.ROOT / name, tmp_path)
    shutil.copytree(policy.ROOT / "csrc", tmp_path / "csrc")
    (tmp_path / "python" / "weft").mkdir(parents=True)
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho broken: no such standard library >&2\nexit 1\n")
    compiler.chmod(0o755)
    environment = os.environ | {"CXX": str(compiler), "WEFT_REQUIRE_NATIVE": "1" if required else "0"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    note = tmp_path / "out" / "weft" / "_build_error.txt"
    if required:
        assert done.returncode != 0 and not note.exists()
        return
    assert done.returncode == 0, done.stderr
    assert "plain NumPy" in done.stderr and not list((tmp_path / "out" / "weft").glob("_cpu*"))
    if shutil.which("cmake") or policy.missing("cmake") is None:
        assert "broken: no such standard library" in note.read_text() or "pybind11" in note.read_text()
