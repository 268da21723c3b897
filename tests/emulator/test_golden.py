"""The emulated device against vectors of silicon (benchmarks/golden.py), and that no wrapper lacks a probe."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from emulator import probes
from emulator.probes import Bench, Data
from policy import needs
from weft.backends import emulator

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
#: What products and approximate functions may differ by, relative to the greatest value.
TOLERANCE = {"mma": 1e-6, "wgmma": 1e-6, "convert.7": 1e-6}


def load_golden():
    spec = importlib.util.spec_from_file_location("golden", ROOT / "benchmarks" / "golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load_golden()


def wrappers() -> set[str]:
    """Functions of kernels/ptx/ that hold an instruction, or call nothing but such."""
    found = set()
    for path in sorted((ROOT / "kernels" / "ptx").glob("*.cuh")):
        for name, body in re.findall(r"^DEVICE_INLINE [\w ]*?(\w+)\(.*?\{(.*?)^\}", path.read_text(), re.M | re.S):
            if "PTX(" in body or "asm" in body or name in ("cluster_sync", "smem_descriptor", "smem_u32", "wgmma"):
                found.add(name)
    return found


#: Called by types.cuh: f16(x), float(f16), bf16(x), pack<T>(low, high).
THROUGH_TYPES = {"convert_to_f16", "convert_f16", "convert_to_bf16", "convert_to_bf16x2", "convert_to_f16x2"}


def test_every_wrapper_has_a_probe():
    names = wrappers()
    assert len(names) > 100 and {"cp_async_16", "tma_load_5d", "wgmma", "mbarrier_wait_cluster"} <= names
    text = "".join(path.read_text() for path in probes.KERNELS.glob("probe_*.cu") if path.stem != "probe_misuse")
    called = set(re.findall(r"\b(\w+)(?:<[^;()]*>)?\(", text))
    assert sorted(names - called - THROUGH_TYPES) == []


def test_every_probe_kernel_is_run():
    files = {probe.file for probe in golden.PROBES}
    assert files == {path.name for path in probes.KERNELS.glob("probe_*.cu")} - {"probe_misuse.cu"}


@needs("emulator")
def test_vectors_are_written_and_read_again(tmp_path):
    chosen = [p for p in golden.PROBES if p.name in ("convert", "widen", "mma_m16n8k16_bf16", "tma_load_2d_nan")]
    with emulator.settings(arch=90):
        files, surprises = golden.vectors(Bench("emulated"), chosen)
        assert surprises == [] and len(files) == 3
        for stem, arrays in files.items():
            np.savez_compressed(tmp_path / f"{stem}.npz", about=np.array(golden.about(Bench("emulated"))), **arrays)
        for path in tmp_path.glob("*.npz"):
            compare(path)
        broken = files["probe_mma"] | {"mma_m16n8k16_bf16.0": files["probe_mma"]["mma_m16n8k16_bf16.0"] + 0.25}
        np.savez_compressed(tmp_path / "probe_mma.npz", about=np.array("{}"), **broken)
        with pytest.raises(AssertionError):
            compare(tmp_path / "probe_mma.npz")


def compare(path: Path) -> None:
    """AssertionError unless the emulated device gives what the file holds."""
    kept = np.load(path)
    wanted = {name.rsplit(".", 1)[0] for name in kept.files} - {"about"}
    chosen = [probe for probe in golden.PROBES if probe.name in wanted]
    assert {probe.name for probe in chosen} == wanted, "vectors of probes that are no more"
    for probe in chosen:
        pairs = probe(Bench("emulated"), Data())
        for i, (got, _) in enumerate(pairs):
            name = f"{probe.name}.{i}"
            limits = [limit for prefix, limit in TOLERANCE.items() if name.startswith(prefix)]
            got, want = golden.storable(got), kept[name]
            if limits:
                finite = want[np.isfinite(want)]
                np.testing.assert_allclose(got, want, rtol=0, atol=limits[0] * np.abs(finite).max(initial=1))
            else:
                np.testing.assert_array_equal(same_nan(got), same_nan(want), name)


def same_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), np.array(np.nan, x.dtype), x) if x.dtype.kind == "f" else x


@needs("emulator")
def test_equals_silicon():
    """Every file of vectors that was brought from a GPU; it is a pass without any, for want of a GPU."""
    for path in sorted(GOLDEN.glob("*.npz")):
        about = json.loads(str(np.load(path)["about"]))
        with emulator.settings(arch=about["capability"]):
            compare(path)
