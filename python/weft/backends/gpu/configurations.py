"""Every kernel in its shipped configurations: what is compiled ahead of time, and what the gate of spills and registers
goes through."""

from __future__ import annotations

from typing import Any

from weft.backends.gpu import gemm_configurations

#: name -> [(file, kernel, defines, least architecture, most registers of a thread)]
CONFIGURATIONS: dict[str, list[tuple[str, str, dict[str, Any], int, int]]] = {
    "gemm_simt": list(gemm_configurations.simt()),
    "gemm_mma": list(gemm_configurations.mma()),
    "gemm_split": list(gemm_configurations.split()),
}
