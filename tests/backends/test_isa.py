"""One binary for every x86 machine: AVX instructions appear only in kernels compiled for them."""

import platform
import shutil
import subprocess

import pytest

from policy import needs


@needs("native")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86 machine")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump to read the library with")
def test_wide_instructions_stay_in_their_namespace():
    """A library function inlined for AVX and then shared by the linker would stop an older processor (SIGILL)."""
    from weft import _cpu

    command = ["objdump", "-d", "--no-show-raw-insn", _cpu.__file__]
    function, wide, seen = "", set(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dump:
        for line in dump.stdout:
            if line.endswith(">:\n"):
                function = line.split("<")[1]
            elif "%ymm" in line or "%zmm" in line or "\tv" in line:
                seen += 1
                if "2v4" not in function and "2v3" not in function:
                    wide.add(function)
    assert seen > 1000 and not wide, sorted(wide)[:5]
