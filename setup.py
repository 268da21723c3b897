"""Builds weft._cpu and weft._launcher with CMake and ships kernels/ and the C++ headers inside the package.

The extension is optional: without a compiler, installation succeeds on plain NumPy and what the compiler said is kept
in weft/_build_error.txt, where `weft doctor` finds it. WEFT_REQUIRE_NATIVE=1 lets a failed build fail the install.
WEFT_AOT=1 compiles the CUDA kernels too, which otherwise happens when they are first used; it needs no GPU.
"""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
AHEAD = "" if os.environ.get("WEFT_AOT", "0") == "0" else os.environ["WEFT_AOT"]  # 1, or capabilities: 80,90
EXTENSIONS = ("_cpu", "_launcher")


def tool(name, folder_name):
    """The path of a build tool: from its Python package where that is installed, else from PATH, else None."""
    try:
        return str(Path(getattr(importlib.import_module(name), folder_name)) / name)
    except ImportError:
        return shutil.which(name)


def run(command):
    """Run a build step, show and return what it prints; RuntimeError carries it all where the step fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, flush=True)
    if done.returncode:
        raise RuntimeError(f"$ {' '.join(map(str, command))}\n{done.stdout}")


def build_native(folder):
    """Compile the extensions and place them in `folder`."""
    import pybind11

    cmake, ninja = tool("cmake", "CMAKE_BIN_DIR"), tool("ninja", "BIN_DIR")
    if not cmake:
        raise RuntimeError("cmake: expected the command or the Python package, got neither")
    # One build folder per Python version; every setting that an isolated build may leave stale is given anew.
    build = ROOT / "build" / f"native-{sys.implementation.cache_tag}"
    settings = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    generator = "Ninja" if ninja else "Unix Makefiles"
    if ninja:
        settings.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
    cache = build / "CMakeCache.txt"
    if cache.exists() and f"CMAKE_GENERATOR:INTERNAL={generator}\n" not in cache.read_text():
        shutil.rmtree(build)
    try:
        run([cmake, "-S", ROOT, "-B", build, "-G", generator, *settings])
    except RuntimeError:
        shutil.rmtree(build, ignore_errors=True)  # CMake would remember the compiler that did not work
        raise
    run([cmake, "--build", build, "--parallel", os.environ.get("WEFT_BUILD_JOBS", str(os.cpu_count() or 1))])
    run([cmake, "--install", build, "--prefix", folder])
    for name in EXTENSIONS:  # a name that the linker left open shows here, not at the user's import
        library = next(folder.glob(f"{name}.*.so"))
        run([sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", library])


def compile_kernels(folder):
    """Compile the listed kernels into cubins in `folder`."""
    code = "import sys; from weft.backends import ahead; ahead.main(*sys.argv[1:])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "python"), "WEFT_NATIVE": "0"}
    subprocess.run([sys.executable, "-c", code, str(folder), AHEAD], env=environment, check=True)


class BuildNative(build_ext):
    """Runs CMake in place of setuptools' compiler, and survives its failure."""

    def run(self):
        folder = ROOT / "python" / "weft" if self.inplace else Path(self.build_lib).resolve() / "weft"
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "_build_error.txt"
        note.unlink(missing_ok=True)
        try:
            build_native(folder)
        except (RuntimeError, OSError, ImportError) as error:
            if os.environ.get("WEFT_REQUIRE_NATIVE", "0") not in ("", "0"):
                raise
            for name in EXTENSIONS:
                for stale in folder.glob(f"{name}.*.*"):  # not _cpu.pyi
                    stale.unlink()
            note.write_text(f"{error}\n")
            print(f"weft: the C++ extension did not build; Weft will run on plain NumPy. See {note}", file=sys.stderr)

    def get_outputs(self):
        package = Path(self.build_lib) / "weft"
        return [str(f) for f in (*package.glob("_*"), *package.glob("libweft_*")) if f.suffix in (".so", ".txt")]

    def get_output_mapping(self):
        return {}


class BuildPython(build_py):
    """Copies what lives outside python/ but belongs to the package (CUDA and C++ sources, examples); writes stubs."""

    def run(self):
        super().run()
        if self.editable_mode:
            return  # found in the checkout
        package = Path(self.build_lib) / "weft"
        for source, patterns in (("kernels", ("*.cu", "*.cuh")), ("csrc", ("*.h", "*.inc")), ("examples", ("*.py",))):
            for pattern in patterns:
                for file in sorted((ROOT / source).rglob(pattern)):
                    target = package / file.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
        subprocess.run([sys.executable, str(ROOT / "tools" / "stubs.py"), self.build_lib], check=True)
        if AHEAD:
            compile_kernels(package / "cubins")


setup(
    ext_modules=[Extension(f"weft.{name}", sources=[]) for name in EXTENSIONS],
    cmdclass={"build_ext": BuildNative, "build_py": BuildPython},
    setup_requires=["numpy>=2.0", "ml_dtypes>=0.5", "nvidia-cuda-nvrtc>=13"] if AHEAD else [],
    zip_safe=False,
)
