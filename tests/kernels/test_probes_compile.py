"""Every wrapper of kernels/ptx.cuh through NVRTC, on every architecture that has its instruction, and what it becomes.

A third of the definitions of TMA and wgmma is compiled each time, all of them in the slow cases.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import policy
from emulator import probes, probes_tma, probes_wgmma
from kernels.sass_checks import SERIALIZED, disassemble, sass
from weft.backends import compile, source

pytestmark = policy.needs("nvrtc")

ROOT = Path(__file__).resolve().parent.parent.parent
PROBES = [*probes.PROBES, *probes_tma.PROBES, *probes_wgmma.PROBES]
CAPABILITIES = (75, 80, 86, 89, 90, 100, 120)

#: What a probe's code of sm_90a must hold, by the start of its name.
INSTRUCTIONS = {
    "cp_async": ("LDGSTS",),
    "ldmatrix": ("LDSM.16.M88 ", "LDSM.16.M88.2", "LDSM.16.M88.4", "LDSM.16.MT88.4"),
    "stmatrix": ("STSM.16.M88 ", "STSM.16.M88.2", "STSM.16.M88.4", "STSM.16.MT88.4"),
    "mma_m16n8k8_f16": ("HMMA.1688.F32 ",),
    "mma_m16n8k8_bf16": ("HMMA.1688.F32.BF16",),
    "mma_m16n8k8_tf32": ("HMMA.1688.F32.TF32",),
    "mma_m16n8k16_f16": ("HMMA.16816.F32 ",),
    "mma_m16n8k16_bf16": ("HMMA.16816.F32.BF16",),
    "named_barrier": ("BAR.SYNC", "BAR.ARV"),
    "mbarrier": ("SYNCS.PHASECHK.TRANS64.TRYWAIT", "SYNCS.ARRIVE.TRANS64"),
    "mbarrier_bytes": ("UBLKCP", "ARRIVES.LDGSTSBAR"),
    "bulk_store": ("UBLKCP", "UBLKRED", "FENCE.VIEW.ASYNC"),
    "order": ("LD.E.STRONG.GPU|LDG.E.STRONG.GPU", "ST.E.STRONG.GPU|STG.E.STRONG.GPU", "NANOSLEEP"),
    "dependent": ("ACQBULK", "PREEXIT"),
    "cluster_2": ("UCGABAR_ARV", "UCGABAR_WAIT"),
    "tma_load_1d": ("UTMALDG.1D ", "UTMALDG.1D.MULTICAST", "UTMACCTL"),
    "tma_load_5d": ("UTMALDG.5D ", "UTMALDG.5D.MULTICAST"),
    "tma_store_3d": ("UTMASTG.3D",),
    "tma_reduce_add_2d": ("UTMAREDG.2D.ADD",),
    "tma_load_im2col_4d": ("UTMALDG.4D.IM2COL", "UTMALDG.4D.IM2COL.*MULTICAST|UTMALDG.4D.MULTICAST.*IM2COL"),
    "tma_store_im2col_4d": ("UTMASTG.4D.IM2COL",),
    "wgmma_bf16_swizzle_128": ("HGMMA.64x64x16.F32.BF16",),
    "registers": ("USETMAXREG.DEALLOC.*0x28", "USETMAXREG.TRY_ALLOC.*0xe8"),
    "wgmma_f16_n8": ("HGMMA.64x8x16.F32 ",),
    "wgmma_tf32_n256": ("HGMMA.64x256x8.F32.TF32",),
    "wgmma_bf16_swizzle_64_t11": (r"HGMMA.64x64x16.F32.BF16 .*tnspA.*tnspB|HGMMA.*tnspA\.tnspB",),
}


def unique(capability: int) -> dict[tuple, probes.Probe]:
    """One probe for each file and definitions that this capability can run."""
    return {(p.file, *sorted(p.defines.items())): p for p in PROBES if p.runs_on(capability)}


def built(probe: probes.Probe, capability: int) -> compile.Cubin:
    text = source.read(str(probes.KERNELS / probe.file))
    return compile.cubin(text, source.definitions(probe.defines), capability)


def faults(chosen: list[probes.Probe], capability: int) -> list[str]:
    """What is wrong with each, compiled on all cores: spills, or products that wait for each other."""
    found = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for probe, made in zip(chosen, pool.map(built, chosen, [capability] * len(chosen))):
            uses = made.resources.values()
            if not uses or any(used.spill_stores or used.spill_loads for used in uses):
                found.append(f"{made.target} {probe.name}: {made.resources}")
            found += [f"{made.target} {probe.name}: {x}" for x in made.log.splitlines() if SERIALIZED.search(x)]
    return found


@pytest.mark.parametrize("capability", policy.mostly_slow(CAPABILITIES, (75, 80, 90, 120).__contains__))
def test_compiles(capability):
    rows = unique(capability).values()
    chosen = [p for i, p in enumerate(rows) if p.file not in ("probe_tma.cu", "probe_wgmma.cu") or i % 3 == 0]
    assert len(chosen) >= (5 if capability == 75 else 9)
    assert faults(chosen, capability) == []


@pytest.mark.slow
def test_every_definition_compiles():
    assert [fault for capability in (90, 100) for fault in faults(list(unique(capability).values()), capability)] == []


@policy.needs("nvdisasm")
def test_becomes_the_instruction():
    by_name = {probe.name: probe for probe in PROBES}
    disassemble([built(by_name[name], 90) for name in INSTRUCTIONS])
    missing = []
    for name, instructions in INSTRUCTIONS.items():
        code = sass(built(by_name[name], 90))
        missing += [f"{name}: {wanted}" for wanted in instructions if not re.search(wanted, code)]
    assert missing == []


def test_wrappers_of_wgmma_are_what_the_tool_writes():
    done = subprocess.run([sys.executable, ROOT / "tools" / "wgmma.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, "kernels/ptx/wgmma.cuh differs from what tools/wgmma.py writes: run it"
