"""Every kernel in its shipped configurations: what is compiled ahead of time, and what the gate of spills and registers
goes through. A kernel's rows come from the file that chooses among them; add its function to `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from weft.backends.gpu import (
    array_configurations,
    attention_configurations,
    attention_sm90_configurations,
    conv_configurations,
    conv_sm90_configurations,
    gemm_configurations,
    rnn_configurations,
    rows_configurations,
    training_configurations,
)


class Configuration(NamedTuple):
    """A kernel with its definitions, where it runs, and what a thread may take: registers, bytes of stack."""

    file: str
    kernel: str
    defines: dict[str, Any]
    least: int
    registers: int
    most: int = 999
    stack: int = 0

    def runs_on(self, capability: int) -> bool:
        return self.least <= capability <= self.most

    def __str__(self) -> str:
        return " ".join([self.kernel, *(f"{key}={value}" for key, value in self.defines.items())])


#: name -> the rows (file, kernel, defines, least capability, most registers[, most capability[, stack]]) of a kernel
SOURCES: dict[str, Callable[[], Iterable[tuple[Any, ...]]]] = {
    "gemm_simt": gemm_configurations.simt,
    "gemm_mma": gemm_configurations.mma,
    "gemm_sm90": gemm_configurations.sm90,
    "gemm_split": gemm_configurations.split,
    "conv_simt": conv_configurations.simt,
    "conv_mma": conv_configurations.mma,
    "conv_depthwise": conv_configurations.depthwise,
    "conv_sm90": conv_sm90_configurations.sm90,
    "attention_sm90": attention_sm90_configurations.sm90,
    "attention_sm90_backward": attention_sm90_configurations.backward,
    "map": array_configurations.map_,
    "transpose": array_configurations.transpose,
    "reduce": array_configurations.reduce_,
    "scan": array_configurations.scan,
    "index": array_configurations.index_,
    "check": array_configurations.check,
    "attention_mma": partial(attention_configurations.family, "attention_mma"),
    "attention_simt": partial(attention_configurations.family, "attention_simt"),
    "attention_delta": attention_configurations.delta,
    "philox": array_configurations.philox,
    "rnn": rnn_configurations.rnn,
    "softmax": rows_configurations.softmax,
    "cross_entropy": rows_configurations.cross_entropy,
    "norm": rows_configurations.norm_,
    "batch_norm": rows_configurations.batch_norm_,
    "optimizer": training_configurations.optimizer,
    "pool": training_configurations.pool_,
    "scatter": training_configurations.scatter,
    "rope": training_configurations.rope_,
    "gated": training_configurations.gated_,
}


def configurations(*names: str) -> Iterator[Configuration]:
    """The configurations of the kernels `names`, or of all."""
    for name in names or SOURCES:
        for row in SOURCES[name]():
            yield Configuration(*row)
