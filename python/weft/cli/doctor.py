"""`weft doctor`: what this machine has, what is wrong with it, and the one command that mends each fault."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OK, NOTE, FAULT = "ok", "note", "FAULT"

# The first driver that runs CUDA 13; every earlier one that Weft knows runs CUDA 12.
CUDA13_DRIVER = 580

# What `WEFT_ISA` and the extension call them.
ISA_NAMES = {"v4": "AVX-512", "v3": "AVX2", "v1": "SSE2 or generic"}

# Build errors are long; their last lines name the cause.
ERROR_LINES = 30


class Finding(NamedTuple):
    """One line of the report: what was looked at, how it stands, in words, and the command that mends it."""

    what: str
    state: str
    text: str
    mend: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exits with 0 if nothing is at fault, else with 1."


def run(options: argparse.Namespace) -> int:
    findings = list(examine())
    width = max(len(finding.what) for finding in findings)
    for what, state, text, mend in findings:
        first, *rest = text.splitlines() or [""]
        print(f"{state:5s}  {what:{width}s}  {first}")
        for line in rest:
            print(f"{'':{width + 9}s}{line}")
        if mend:
            print(f"{'':{width + 9}s}mend: {mend}")
    faults = sum(finding.state == FAULT for finding in findings)
    print(f"\n{faults} at fault" if faults else "\nnothing at fault")
    return 1 if faults else 0


def examine() -> Iterator[Finding]:
    """Every finding, in the order of the report."""
    yield python()
    yield cpu()
    yield blas()
    yield native()
    yield threads()
    yield packages()
    yield from gpu()
    yield kernel_compiler()
    yield own_functions()
    yield kernel_cache()
    yield data_sets()


def python() -> Finding:
    import weft

    text = f"Weft {weft.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Finding("versions", OK, text)


def cpu_model() -> tuple[str, set[str]]:
    """The CPU's name and its instruction sets, as far as the system tells."""
    name, flags = platform.processor() or platform.machine(), set()
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    return name, flags


def cpu() -> Finding:
    name, flags = cpu_model()
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        vectors = "AVX-512"
    elif {"avx2", "fma"} <= flags:
        vectors = "AVX2 and FMA"
    else:
        vectors = "SSE2" if platform.machine() in ("x86_64", "AMD64") else "generic vectors"
    forced = os.environ.get("WEFT_ISA")
    text = f"{name}, {cores()} cores usable, {vectors}" + (f"; WEFT_ISA={forced} chooses" if forced else "")
    return Finding("cpu", NOTE if forced else OK, text, "unset WEFT_ISA" if forced else "")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blas() -> Finding:
    """NumPy's BLAS: it multiplies matrices where Weft's extension does not (float64; all with WEFT_NATIVE=0)."""
    import numpy as np

    built = np.show_config(mode="dicts")
    used = built.get("Build Dependencies", {}).get("blas", {})
    text = f"NumPy {np.__version__} over {used.get('name', 'an unknown BLAS')} {used.get('version', '')}".rstrip()
    names = sorted(n for n in os.environ if n.startswith(("OPENBLAS_", "OMP_", "MKL_")))
    if not names:
        return Finding("blas", OK, text)
    text += "; set: " + ", ".join(f"{n}={os.environ[n]}" for n in names)
    slow = [n for n in names if n.endswith("CORETYPE")]
    return Finding("blas", NOTE, text, f"unset {' '.join(slow)}" if slow else "")


def compiler() -> str | None:
    return next((c for c in (os.environ.get("CXX"), "g++", "clang++", "c++") if c and shutil.which(c)), None)


def system_install() -> str:
    """The command that installs a compiler and Python's headers here."""
    if shutil.which("apt-get"):
        return "sudo apt-get install -y python3-dev g++ make"
    if shutil.which("dnf"):
        return "sudo dnf install -y python3-devel gcc-c++ make"
    return "brew install gcc make" if shutil.which("brew") else "install a C++17 compiler and Python's headers"


def rebuild() -> str:
    """The command that builds the extension, for a checkout or for an installed wheel."""
    root = Path(__file__).resolve().parents[3]
    if (root / "csrc").exists() and (root / "Makefile").exists():
        return f"make -C {root} native"
    return "pip install --force-reinstall --no-deps --no-binary weft weft"


def native() -> Finding:
    package = Path(__file__).resolve().parent.parent
    try:
        extension = importlib.import_module("weft._cpu")  # loads it even where WEFT_NATIVE=0 keeps Weft from it
    except ImportError as error:
        return Finding("extension", FAULT, *why_no_extension(package, error))
    path = Path(extension.__file__ or "")
    newer = [p for p in (package.parents[1] / "csrc").rglob("*.*") if p.stat().st_mtime > path.stat().st_mtime]
    if newer:
        return Finding("extension", NOTE, f"{path.name} is older than {newer[0].name}", rebuild())
    if os.environ.get("WEFT_NATIVE") == "0":
        return Finding("extension", NOTE, "turned off by WEFT_NATIVE=0: plain NumPy runs", "unset WEFT_NATIVE")
    isa = getattr(extension, "isa", None)
    chosen = isa() if callable(isa) else None
    return Finding("extension", OK, f"{path}" + (f", runs its {ISA_NAMES.get(chosen, chosen)} code" if chosen else ""))


def why_no_extension(package: Path, error: ImportError) -> tuple[str, str]:
    """(why the extension does not load, the command that mends it)."""
    found = sorted(package.glob("_cpu.*.so")) + sorted(package.glob("_cpu.*.pyd"))
    if found and not any(str(p).endswith(sysconfig.get_config_var("EXT_SUFFIX") or ".so") for p in found):
        return f"built for another Python: {found[0].name}; plain NumPy runs", rebuild()
    if found:
        return f"does not load: {error}; plain NumPy runs", rebuild()
    if compiler() is None:
        return "not built, there is no C++ compiler; plain NumPy runs", f"{system_install()} && {rebuild()}"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "not built, Python's headers are missing; plain NumPy runs", f"{system_install()} && {rebuild()}"
    record = package / "_build_error.txt"
    if record.exists():
        words = record.read_text(errors="replace").rstrip().splitlines()[-ERROR_LINES:]
        return "\n".join(["did not build; plain NumPy runs. The build said:", *words]), rebuild()
    return "not built; plain NumPy runs", rebuild()


def threads() -> Finding:
    wanted = os.environ.get("WEFT_NUM_THREADS")
    count: int | str = cores()
    try:
        count = importlib.import_module("weft._cpu").num_threads()
    except (ImportError, AttributeError):
        if wanted:
            count = wanted
    load = f"; load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    if wanted is not None and not (wanted.isdigit() and 0 < int(wanted) <= cores()):
        text = f"WEFT_NUM_THREADS={wanted}, but {cores()} cores are usable{load}"
        return Finding("threads", FAULT, text, "unset WEFT_NUM_THREADS")
    return Finding("threads", OK, f"{count}{' by WEFT_NUM_THREADS' if wanted else ''}{load}")


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def packages() -> Finding:
    needed = ("numpy", "ml_dtypes", "safetensors", "tqdm")
    optional = {"scikit-learn": "examples", "matplotlib": "examples", "pillow": "examples"}
    lost = [name for name in needed if version(name) is None]
    if lost:
        return Finding("packages", FAULT, f"missing: {', '.join(lost)}", f"{pip()} install {' '.join(lost)}")
    text = ", ".join(f"{name} {version(name)}" for name in (*needed, *optional) if version(name))
    absent = [name for name in optional if version(name) is None]
    if absent:
        return Finding("packages", NOTE, f"{text}; without {', '.join(absent)}", f"{pip()} install 'weft[examples]'")
    return Finding("packages", OK, text)


def pip() -> str:
    return f"{sys.executable} -m pip"


def driver() -> tuple[int, str] | None:
    """(major version of the NVIDIA driver, the GPUs' names), or None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
        fields = [line.split(", ", 1) for line in lines if ", " in line]
        return int(fields[0][0].split(".")[0]), ", ".join(name for _, name in fields)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def gpu() -> Iterator[Finding]:
    """The driver, the CUDA wheels, and whether they fit each other."""
    found = driver()
    wheels = [
        d.metadata["Name"]
        for d in importlib.metadata.distributions()
        if (d.metadata["Name"] or "").lower().startswith("cupy") and d.metadata["Name"].lower() != "cupy-wheel"
    ]
    if found is None:
        broken = shutil.which("nvidia-smi") is not None
        text = "nvidia-smi does not answer" if broken else "no NVIDIA driver: the CPU runs everything"
        yield Finding("driver", FAULT if broken else OK, text, "nvidia-smi" if broken else "")
    else:
        yield Finding("driver", OK, f"{found[0]} for {found[1]}")
    yield cuda_wheels(found[0] if found else None, sorted(set(wheels)))


def cuda_wheels(major: int | None, wheels: list[str]) -> Finding:
    """How the CuPy wheels `wheels` fit the driver of version `major` (None: no driver)."""
    right = "cuda13" if (major or 0) >= CUDA13_DRIVER else "cuda12"
    if len(wheels) > 1:
        text = f"{' and '.join(wheels)} are both installed and overwrite each other"
        mend = f"{pip()} uninstall -y {' '.join(wheels)}" + (f" && {pip()} install 'weft[{right}]'" if major else "")
        return Finding("cuda wheels", FAULT, text, mend)
    if major is None:
        return Finding("cuda wheels", OK, f"{wheels[0]}, unused without a driver" if wheels else "none, none needed")
    if not wheels:
        return Finding("cuda wheels", NOTE, "none: the GPU lies idle", f"{pip()} install 'weft[{right}]'")
    if "13" in wheels[0] and right == "cuda12":
        text = f"{wheels[0]} needs driver {CUDA13_DRIVER} or later, and this one is {major}"
        return Finding(
            "cuda wheels", FAULT, text, f"{pip()} uninstall -y {wheels[0]} && {pip()} install 'weft[{right}]'"
        )
    return Finding("cuda wheels", OK, wheels[0])


def kernel_compiler() -> Finding:
    """What compiles CUDA kernels when they are first used, and what launches them."""
    from weft.backends import ahead, driver, nvrtc

    launcher = "launches through weft._launcher" if driver.native() else "launches through ctypes, which is slower"
    packed = f"{len(ahead.packed())} compiled ahead, " if ahead.packed() else ""
    try:
        name, known = nvrtc.version().rpartition(" ")[0], nvrtc.supported()
    except ImportError as error:
        needed = found_driver() and not packed
        mend = f"{pip()} install nvidia-cuda-nvrtc" if needed else ""
        return Finding("kernels", FAULT if needed else OK, f"{packed}{str(error).partition(':')[2].strip()}", mend)
    return Finding("kernels", OK, f"{packed}{name} for sm_{known[0]} to sm_{known[-1]}; {launcher}")


def found_driver() -> bool:
    return shutil.which("nvidia-smi") is not None


def own_functions() -> Finding:
    """What compiles the functions of `weft.elementwise`."""
    from weft.backends import cpu, link

    if version("numba") is None:
        text = "no Numba: weft.elementwise runs a user's functions as NumPy code, many times slower"
        return Finding("numba", NOTE, text, f"{pip()} install 'weft[numba]'")
    text = f"Numba {version('numba')}" + ("" if cpu.native else ", unused without the extension")
    if version("numba-cuda") is None:
        mend = f"{pip()} install numba-cuda nvidia-nvjitlink" if found_driver() else ""
        return Finding("numba", NOTE if mend else OK, f"{text}; without numba-cuda, for the CPU alone", mend)
    try:
        link.library()
    except ImportError as error:
        mend = f"{pip()} install nvidia-nvjitlink" if found_driver() else ""
        return Finding("numba", NOTE if mend else OK, f"{text}, numba-cuda {version('numba-cuda')}; {error}", mend)
    return Finding("numba", OK, f"{text}, numba-cuda {version('numba-cuda')}")


def kernel_cache() -> Finding:
    """The folder of compiled kernels: how much it holds, and whether it keeps what it is given."""
    from weft.backends import cache

    wanted = cache.wanted_folder()
    try:
        limit = cache.limit()
    except ValueError as error:
        return Finding("cache", FAULT, str(error), "unset WEFT_CACHE_LIMIT")
    if cache.folder() != wanted:
        text = f"{wanted} cannot be written: kernels are compiled anew by every process"
        return Finding("cache", FAULT, text, f"export WEFT_CACHE={Path(tempfile.gettempdir()) / 'weft'}")
    count, size = cache.usage()
    return Finding("cache", OK, f"{count} kernels, {size / 1e6:.1f} of {limit / 1e6:.0f} MB in {wanted}")


def data_sets() -> Finding:
    root = os.environ.get("WEFT_DATA")
    if root is None:
        return Finding("data", OK, "WEFT_DATA is not set; `weft data` says where data sets are looked for")
    if not Path(root).is_dir():
        return Finding("data", FAULT, f"WEFT_DATA={root} is no folder", "unset WEFT_DATA")
    return Finding("data", OK, f"WEFT_DATA={root}")
