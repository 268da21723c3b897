"""Thousands of damaged ONNX models, read in a process whose memory is limited: each is read or refused with a word.

    python fuzz/mutated_onnx.py [--files 2000] [--seed 0]

Prints one line of JSON: how many files were refused, how many could be read, and how many of these ran. Ends with 1 at
the first file that gives an error other than ValueError with the file's name, or makes the reader allocate more than
twice its size (and what its nodes take as Python objects).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutated import limit_memory
from onnx import TensorProto, helper, numpy_helper

import weft
from weft import onnx as weft_onnx

ROOM = 1 << 30  # bytes of address space beyond what the imports took
FIXED = 1 << 20  # bytes of Python objects that do not depend on the file: caches, the table of operators
PARSED = 60  # bytes of Python objects for each byte of a small file's nodes

SIZES = [-1, 0, 1, 2, 3, 7, 2**16, 2**31, 2**32, 2**32 + 1, 2**62, 2**63 - 1, -(2**63)]
X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in (("x", 3), ("y", 2)))


def model(nodes: list[Any], initializers: list[Any], outputs: Any = Y, **more: Any) -> Any:
    graph = helper.make_graph(nodes, "g", [X], [outputs], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, **more)


def weights(rng: random.Random) -> tuple[Any, Any]:
    """A matrix and a vector, in one of the fields that hold values; sometimes the matrix outweighs all else."""
    rows = 100_000 if rng.random() < 0.03 else 2
    w = np.ones((rows, 3), "f4")
    first = numpy_helper.from_array(w, "w") if rng.random() < 0.5 or rows > 2 else helper.make_tensor(
        "w", TensorProto.FLOAT, w.shape, w.reshape(-1).tolist())  # fmt: skip
    return first, numpy_helper.from_array(np.zeros(rows, "f4"), "b")


def dense(rng: random.Random) -> Any:
    w, b = weights(rng)
    rows = w.dims[0]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", rows])
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, [w, b], out)


def branched(rng: random.Random) -> Any:
    """If and Loop, with graphs of their own."""
    inner = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["a"])], "then",
                              [], [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)])  # fmt: skip
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["c"])], "else",
                              [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)])  # fmt: skip
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Identity", ["going"], ["more"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("going", TensorProto.BOOL, []),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("more", TensorProto.BOOL, []),
         helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["flag"], ["z"], then_branch=inner, else_branch=other),
        helper.make_node("Loop", ["count", "", "z"], ["y"], body=body),
    ]
    constants = [numpy_helper.from_array(np.array(True), "flag"), numpy_helper.from_array(np.array(3), "count"),
                 numpy_helper.from_array(np.float32(2), "two")]  # fmt: skip
    return model(nodes, constants, helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]))


def with_function(rng: random.Random) -> Any:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    made = model([helper.make_node("Twice", ["x"], ["y"], domain="local")], [],
                 helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]), functions=[function])  # fmt: skip
    made.opset_import.append(helper.make_opsetid("local", 1))
    return made


def of_many_types(rng: random.Random) -> Any:
    kinds = [TensorProto.INT4, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.BOOL, TensorProto.COMPLEX64]
    made = [helper.make_tensor(f"t{i}", kind, [4], [1, 0, 1, 0]) for i, kind in enumerate(kinds)]
    casts = [helper.make_node("Cast", [t.name], [f"c{i}"], to=TensorProto.FLOAT) for i, t in enumerate(made[:4])]
    out = helper.make_tensor_value_info("c0", TensorProto.FLOAT, [4])
    return model([helper.make_node("Identity", ["x"], ["z"]), *casts], made, out)


def external(rng: random.Random) -> Any:
    made = dense(random.Random(1))
    offset = 0
    for tensor in made.graph.initializer:
        size = 4 * int(np.prod(tensor.dims))
        values = {"location": "values.bin", "offset": str(offset), "length": str(size)}
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in values.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        offset += size
    return made


SEEDS = [dense, branched, with_function, of_many_types, external]


# ---- the ways to damage a model, and then its bytes


def tensors_of(proto: Any) -> list[Any]:
    found = list(proto.graph.initializer)
    return found + [a.t for node in proto.graph.node for a in node.attribute if a.HasField("t")]


def odd_sizes(rng: random.Random, proto: Any) -> None:
    shapes = [[rng.choice(SIZES) for _ in range(rng.randint(0, 4))], [2**32, 2**32], [2**62, 4], [1] * 40,
              [2**63 - 1, 2**63 - 1, 0], [-1, -6]]  # fmt: skip
    for tensor in rng.sample(tensors_of(proto), min(1, len(tensors_of(proto)))):
        tensor.dims[:] = rng.choice(shapes)


def odd_types(rng: random.Random, proto: Any) -> None:
    for tensor in tensors_of(proto):
        if rng.random() < 0.5:
            tensor.data_type = rng.choice([0, 1, 8, 9, 15, 16, 17, 22, 23, 26, 27, 28, 99, -1])


def odd_values(rng: random.Random, proto: Any) -> None:
    for tensor in tensors_of(proto)[:1]:
        field = rng.choice(["raw_data", "float_data", "int32_data", "int64_data", "double_data", "string_data"])
        if field == "raw_data":
            tensor.raw_data = rng.randbytes(rng.randint(0, 100))
        elif field == "string_data":
            tensor.string_data.append(b"\xff")
        else:
            getattr(tensor, field).extend([1] * rng.randint(1, 50))


def odd_names(rng: random.Random, proto: Any) -> None:
    """Cycles, names twice, names of nothing, nodes in another order."""
    nodes = proto.graph.node
    kind = rng.randrange(6)
    if kind == 0:
        nodes[0].input[0] = nodes[-1].output[0]
    elif kind == 1:
        nodes.add().CopyFrom(nodes[0])
    elif kind == 2:
        proto.graph.initializer.add().CopyFrom((list(proto.graph.initializer) or [TensorProto(name="x")])[0])
    elif kind == 3:
        node = rng.choice(list(nodes))
        node.input.append(rng.choice(["", "nothing", "x", "y", "\0", "training", "forward"]))
    elif kind == 4:
        proto.graph.input.add().CopyFrom(proto.graph.input[0])
    else:
        reordered = list(nodes)[::-1]
        del nodes[:]
        nodes.extend(reordered)


def odd_nodes(rng: random.Random, proto: Any) -> None:
    """Other operators, attributes of other names and kinds, other opsets."""
    node = rng.choice(list(proto.graph.node))
    kind = rng.randrange(5)
    if kind == 0:
        node.op_type = rng.choice(
            ["Conv", "Resize", "Nothing", "", "If", "Scan", "LSTM", "Reshape", "Twice", "Attention"]
        )
    elif kind == 1:
        node.attribute.append(helper.make_attribute(rng.choice(["axis", "alpha", "transB", "body", "x"]), rng.choice(
            [1, 1.5, "text", [1, 2], [0.5], numpy_helper.from_array(np.ones(3)), 2**62, b"\xff"])))  # fmt: skip
    elif kind == 2:
        proto.opset_import[0].version = rng.choice([-1, 0, 1, 6, 13, 21, 28, 29, 2**40])
    elif kind == 3:
        proto.opset_import.add().CopyFrom(proto.opset_import[0])
    else:
        node.domain = rng.choice(["", "ai.onnx", "com.microsoft", "local"])


def nested(rng: random.Random, proto: Any) -> None:
    """Graphs within graphs; functions that call themselves."""
    if proto.functions and rng.random() < 0.5:
        call = proto.functions[0].node.add()
        call.CopyFrom(helper.make_node("Twice", ["a"], ["c"], domain="local"))
        return
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["v"])], "end", [], [Y])
    for i in range(rng.choice([3, 14, 16, 17, 22])):
        node = helper.make_node("If", ["flag"], [f"o{i}"], then_branch=graph, else_branch=graph if i < 3 else None)
        graph = helper.make_graph([node], f"g{i}", [], [helper.make_tensor_value_info(f"o{i}", 1, None)])
    proto.graph.node.append(helper.make_node("If", ["flag"], ["deep"], then_branch=graph))


def elsewhere(rng: random.Random, proto: Any) -> None:
    """External data outside of the folder, beyond its file, twice, or of a size that does not fit."""
    values = {
        "location": ["../values.bin", "/etc/passwd", "..", "", ".", "a/../values.bin", "link.bin", "hard.bin", "\0",
                     "folder/values.bin", "values.bin/", "pipe", "values.bin", "C:\\x", "//etc/passwd"],
        "offset": ["-1", "0", "4", "99999", str(2**63), str(2**64), "1e3", ""],
        "length": ["-1", "0", "4", "24", "99999", str(2**62), "x", ""],
    }  # fmt: skip
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if rng.random() < 0.4:
                entry.value = rng.choice(values[entry.key])


EDITS: list[Callable[[random.Random, Any], None]] = [
    odd_sizes,
    odd_types,
    odd_values,
    odd_names,
    odd_nodes,
    nested,
    elsewhere,
]


def spoiled(rng: random.Random, data: bytes) -> bytes:
    """Bytes cut off, turned around, put in or taken out."""
    whole = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(whole[: rng.randrange(len(whole) + 1)])
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(max(min(len(whole), 2000), 1))
        if kind == 1 and whole:
            whole[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            whole[at:at] = rng.choice([rng.randbytes(rng.randint(1, 9)), b"\xff" * 9 + b"\x01", b"\x0a" * 20])
        else:
            del whole[at : at + rng.randint(1, 20)]
    return bytes(whole)


def damaged(rng: random.Random) -> tuple[str, bytes]:
    """(what was done, the bytes of a model)."""
    seed = rng.choice(SEEDS)
    proto = seed(rng)
    done = [seed.__name__]
    if rng.random() < 0.6:
        for edit in rng.sample(EDITS, rng.choice([1, 1, 2])):
            edit(rng, proto)
            done.append(edit.__name__)
    data = proto.SerializeToString()
    if len(done) == 1 or rng.random() < 0.2:
        data = spoiled(rng, data)
        done.append("spoiled")
    return " ".join(done), data


def prepare(folder: Path) -> None:
    """What external data may find: its file, and ways to others."""
    (folder / "values.bin").write_bytes(np.ones(8, "f4").tobytes())
    os.symlink("/etc/passwd", folder / "link.bin")
    (folder.parent / "outside.bin").write_bytes(bytes(64))
    os.link(folder.parent / "outside.bin", folder / "hard.bin")
    os.symlink("..", folder / "folder")
    os.mkfifo(folder / "pipe")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    warnings.simplefilter("ignore")
    for seed in SEEDS[:4]:
        weft_onnx.OnnxModule(seed(random.Random(0)))  # what is loaded once is no file's
    limit_memory(ROOM)
    counts: dict[str, int] = {"refused": 0, "read": 0, "ran": 0}
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "models"
        folder.mkdir()
        prepare(folder)
        path = folder / "model.onnx"
        for i in range(options.files):
            what, data = damaged(rng)
            path.write_bytes(data)
            del data
            size = path.stat().st_size
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            words, module = "", None
            try:
                module = weft_onnx.load(path)
                counts["read"] += 1
            except ValueError as error:
                counts["refused"] += 1
                words = str(error)
            except BaseException as error:
                print(f"file {i} of seed {options.seed} ({what}): {error!r}", file=sys.stderr)
                return 1
            taken = tracemalloc.get_traced_memory()[1] - before
            if words and (not words.startswith(f"onnx.load: {path}: ") or len(words) > 3000):
                print(f"file {i} of seed {options.seed} ({what}): unclear words: {words}", file=sys.stderr)
                return 1
            if taken > 2 * size + PARSED * min(size, 20_000) + FIXED:
                print(f"file {i} of seed {options.seed} ({what}): took {taken} bytes for {size}", file=sys.stderr)
                return 1
            if module is not None and "branched" not in what:  # a loop may be asked to turn without end
                try:
                    with weft.no_grad():
                        module(np.ones((2, 3), np.float32))
                    counts["ran"] += 1
                except ValueError:
                    pass
                except BaseException as error:
                    print(f"file {i} of seed {options.seed} ({what}): running: {error!r}", file=sys.stderr)
                    return 1
    print(json.dumps({"files": options.files, **counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
