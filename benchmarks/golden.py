#!/usr/bin/env python3
"""Golden vectors: what every wrapper of kernels/ptx.cuh gives on a device, for inputs that are the same everywhere.

    python benchmarks/golden.py --device cuda           # writes tests/golden/*.npz, to be committed
    python benchmarks/golden.py --device emulated --out DIR

The kernels and inputs are those of tests/emulator/probes.py. `tests/emulator/test_golden.py` holds the emulated device
to the vectors of silicon. Each .npz has one array per output, named PROBE.NUMBER, and `about`: device, capability.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from emulator import probes, probes_tma, probes_wgmma

PROBES = [*probes.PROBES, *probes_tma.PROBES, *probes_wgmma.PROBES]


def storable(array: np.ndarray) -> np.ndarray:
    """NumPy's files know no bfloat16: its bits."""
    return np.ascontiguousarray(array.view(np.uint16) if array.dtype == probes.BF16 else array)


def vectors(bench: probes.Bench, chosen: list[probes.Probe]) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """File -> name -> array, of the probes that the device can run, and what did not come out as NumPy has it."""
    capability = bench.capability()
    files: dict[str, dict[str, np.ndarray]] = {}
    surprises = []
    for probe in chosen:
        if not probe.runs_on(capability):
            continue
        pairs = probe(bench, probes.Data())
        arrays = files.setdefault(Path(probe.file).stem, {})
        for i, (got, _) in enumerate(pairs):
            arrays[f"{probe.name}.{i}"] = storable(got)
        try:
            probes.check(pairs)
        except AssertionError as error:
            surprises.append(f"{probe.name}: {str(error).strip()[:300]}")
    return files, surprises


def about(bench: probes.Bench) -> str:
    words = {"device": bench.device, "capability": bench.capability(), "numpy": np.__version__}
    if bench.device != "emulated":
        import weft

        words["name"] = weft.cuda.device_name()
    return json.dumps(words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or emulated")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden")
    parser.add_argument("--only", default="", help="probes with this in their name")
    options = parser.parse_args()
    bench = probes.Bench("cuda:0" if options.device == "cuda" else options.device)
    files, surprises = vectors(bench, [probe for probe in PROBES if options.only in probe.name])
    options.out.mkdir(parents=True, exist_ok=True)
    for stem, arrays in files.items():
        np.savez_compressed(options.out / f"{stem}.npz", about=np.array(about(bench)), **arrays)
    size = sum((options.out / f"{stem}.npz").stat().st_size for stem in files)
    count = sum(map(len, files.values()))
    print(f"{count} vectors of {bench.device} in {len(files)} files, {size / 1024:.0f} KiB, in {options.out}")
    for words in surprises:
        print(f"not as expected: {words}")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
