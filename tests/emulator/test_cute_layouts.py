"""Fragments, swizzles and matrix descriptors of the emulated device against CuTe's own tables.

The emulator and the kernels come from one reading of the PTX manual; NVIDIA's headers are a second one. They are
evaluated on the host (cute_check.cpp), from wheels that only this test needs.
"""

import importlib.util
import re
import subprocess
from pathlib import Path

import policy

HERE = Path(__file__).resolve().parent
EMULATOR = HERE.parent.parent / "csrc" / "emulator"


def include_folders() -> list[Path]:
    """CuTe's headers, and CUDA's, which they include."""
    (library,) = importlib.util.find_spec("cutlass_library").submodule_search_locations
    cuda = policy.cuda_headers()
    return [Path(library) / "source" / "include", cuda, cuda / "cccl"]


def compile_check(folder: Path) -> Path:
    program = folder / "cute_check"
    includes = [f"-I{path}" for path in [EMULATOR, *include_folders()]]
    command = ["g++", "-std=c++17", "-O0", "-w", *includes, HERE / "cute_check.cpp", "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]
    return program


@policy.needs("cutlass_library", "cuda.h", "g++")
def test_layouts_equal_cute(tmp_path):
    done = subprocess.run([compile_check(tmp_path)], capture_output=True, text=True)
    rows = re.findall(r"^(.*): (\d+) compared, (\d+) mismatches$", done.stdout, re.MULTILINE)
    assert len(rows) == 81, done.stdout
    assert all(int(compared) > 0 for _, compared, _ in rows)
    assert [name for name, _, mismatches in rows if int(mismatches)] == []
    assert "total: 0 mismatches" in done.stdout and done.returncode == 0
