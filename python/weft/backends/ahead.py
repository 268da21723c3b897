"""Kernels compiled ahead of time: `WEFT_AOT=1 pip install .` packs the cubins of the listed configurations (gpu/
configurations.py) into the wheel. They are found by content, so that a changed source is never served an old cubin.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from weft.backends import cache, source
from weft.backends.source import Source

#: What WEFT_AOT=1 compiles for; WEFT_AOT=80,90 names others.
TARGETS = (80, 86, 89, 90, 100, 120)


def name(kernel: Source, defines: dict[str, str], capability: int) -> str:
    """The file of a packed cubin. The compiler's version is no part of it: the machine may have another, or none."""
    names = [name for name, _ in kernel.includes]
    words = [f"{key}={value}" for key, value in sorted(defines.items())]
    return cache.key("ahead", kernel.path.name, *names, *kernel.texts(), *words, str(capability)) + ".cubin"


@lru_cache(maxsize=1)
def packed() -> frozenset[str]:
    folder = source.PACKAGE / "cubins"
    return frozenset(path.name for path in folder.glob("*.cubin")) if folder.is_dir() else frozenset()


def find(kernel: Source, defines: dict[str, str], capability: int) -> cache.Entry | None:
    """The packed entry of these kernels, or None."""
    if not packed():
        return None
    wanted = name(kernel, defines, capability)
    return cache.load(source.PACKAGE / "cubins" / wanted) if wanted in packed() else None


def build(folder: Path, capabilities: tuple[int, ...] = TARGETS) -> int:
    """Compile every listed configuration into `folder`; returns how many entries it holds then."""
    from weft.backends import compile
    from weft.backends.gpu.configurations import Configuration, configurations

    folder.mkdir(parents=True, exist_ok=True)

    def pack(job: tuple[Configuration, int]) -> Path:
        configuration, capability = job
        kernel, defines = source.read(configuration.file), source.definitions(configuration.defines)
        entry = compile.built(kernel, defines, compile.nvrtc.target(capability))
        path = folder / name(kernel, defines, capability)
        path.write_bytes(cache.pack(entry.code, entry.record))
        return path

    jobs = [(one, capability) for one in configurations() for capability in capabilities if one.runs_on(capability)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return len(set(pool.map(pack, jobs)))


def main(folder: str, words: str = "1") -> None:
    """What setup.py runs. words: "1", or the capabilities to compile for, as "80,90"."""
    capabilities = TARGETS if words == "1" else tuple(int(word) for word in words.split(","))
    print(f"weft: {build(Path(folder), capabilities)} kernels compiled for {', '.join(map(str, capabilities))}")
