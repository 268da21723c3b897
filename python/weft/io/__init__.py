"""Files: weights and checkpoints as safetensors, with a checksum per tensor; never pickle."""

from weft.io.container import CheckpointError, CheckpointWarning, read_file, write_file
from weft.io.durable import write_durably
from weft.io.mapped import MappedFile
from weft.io.shards import ShardedFiles, write_sharded
from weft.io.state import load, save

__all__ = [
    "CheckpointError", "CheckpointWarning", "MappedFile", "ShardedFiles", "load", "read_file", "save",
    "write_durably", "write_file", "write_sharded",
]  # fmt: skip
