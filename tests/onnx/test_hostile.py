"""Model files are untrusted: whatever is wrong with one is a ValueError that says so, and nothing outside is read."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from policy import needs, require

pytestmark = needs("onnx")
ROOT = Path(__file__).resolve().parents[2]


def tensor(name="w", dims=(2, 3), values=None, kind=1, **fields):
    from onnx import TensorProto

    made = TensorProto(name=name, dims=dims, data_type=kind, **fields)
    if values is not None:
        made.raw_data = values
    return made


def model(nodes, initializers=(), outputs=("y",), inputs=("x",), opset=20, functions=()):
    from onnx import TensorProto, helper

    infos = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names] for names in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *infos, list(initializers))
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid("local", 1)] if functions else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def node(kind, inputs, outputs, **attributes):
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **attributes)


def refused(proto, tmp_path, words):
    import weft

    path = tmp_path / "model.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    with pytest.raises(ValueError, match=words) as error:
        weft.onnx.load(path)
    assert str(path) in str(error.value)


def with_tensor(made):
    return model([node("Add", ["x", "w"], ["y"])], [made])


FULL = np.ones((2, 3), "f4").tobytes()
TENSORS = {
    "negative dims": (lambda: tensor(dims=(-2, -3), values=FULL), "dims of at least 0"),
    "huge dims": (lambda: tensor(dims=(2**40,), values=FULL), f"expected {4 * 2**40} bytes .* got 24"),
    "dims beyond memory": (lambda: tensor(dims=(2**62, 2**62), values=FULL), "beyond any memory"),
    "dims that wrap to 24 bytes": (lambda: tensor(dims=(2**32, 2**32, 6), values=FULL), "beyond any memory"),
    "dims that wrap, with a 0": (lambda: tensor(dims=(2**62, 2**62, 0), values=b""), "beyond any memory"),
    "many dims": (lambda: tensor(dims=(1,) * 33, values=FULL[:4]), "at most 32 dims"),
    "a byte less": (lambda: tensor(values=FULL[:-1]), "expected 24 bytes .* got 23"),
    "a byte more": (lambda: tensor(values=FULL + b"\0"), "expected 24 bytes .* got 25"),
    "values twice": (lambda: tensor(values=FULL, float_data=[1.0] * 6), "in one field"),
    "the wrong field": (lambda: tensor(double_data=[1.0] * 6), "6 values of float_data .* got 6 of double_data"),
    "no values": (lambda: tensor(), "6 values of float_data .* got none"),
    "booleans of 2": (lambda: tensor(dims=(2,), values=b"\1\2", kind=9), "booleans of 0 and 1, got 2"),
    "strings": (lambda: tensor(dims=(1,), kind=8, string_data=[b"a"]), "Weft has no strings"),
    "no type": (lambda: tensor(values=FULL, kind=0), "element type out of .* got UNDEFINED"),
    "an unknown type": (lambda: tensor(values=FULL, kind=99), "element type out of .* got 99"),
    "spare external data": (lambda: located(tensor(values=FULL), location="w.bin"), "only where data_location"),
}  # fmt: skip


def located(made, **entries):
    for key, value in entries.items():
        entry = made.external_data.add()
        entry.key, entry.value = key, value
    return made


@pytest.mark.parametrize("case", TENSORS)
def test_sizes_of_tensors_are_checked_before_memory_is_taken(case, tmp_path):
    make, words = TENSORS[case]
    refused(with_tensor(make()), tmp_path, words)


def test_the_same_checks_hold_for_constants_of_nodes(tmp_path):
    made = model([node("Constant", [], ["c"], value=tensor(dims=(2**50,), values=b"")), node("Add", ["x", "c"], ["y"])])
    refused(made, tmp_path, r"attribute 'value': expected \d+ bytes")


# ---- external data


def external(tmp_path, **entries):
    return with_tensor(located(tensor(data_location=1), **entries))


@pytest.fixture
def folder(tmp_path):
    """models/ with w.bin (24 bytes), and ways out of it."""
    inside = tmp_path / "models"
    inside.mkdir()
    (inside / "w.bin").write_bytes(FULL)
    (tmp_path / "secret.bin").write_bytes(bytes(range(64)))
    (tmp_path / "other.bin").write_bytes(bytes(64))
    os.symlink(tmp_path / "secret.bin", inside / "link.bin")
    os.symlink(tmp_path, inside / "folder")
    os.link(tmp_path / "other.bin", inside / "hard.bin")
    os.mkfifo(inside / "pipe")
    return inside


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "./w.bin", "..", ".", "", "link.bin", "hard.bin",
     "folder/secret.bin", "pipe", "w.bin/", "a\\b", "w.bin\0x", "absent.bin", "folder"],
    ids=lambda location: repr(location),
)  # fmt: skip
def test_external_data_stays_in_its_folder(location, folder):
    refused(external(folder, location=location), folder, "expected external data (at a plain path|in a regular file)")


def test_external_data_that_is_where_it_should_be_is_read(folder):
    import weft

    (folder / "model.onnx").write_bytes(external(folder, location="w.bin", offset="0", length="24").SerializeToString())
    assert weft.onnx.load(folder / "model.onnx").state_dict()["w"].tolist() == [[1.0] * 3] * 2
    checksum = hashlib.sha1(FULL).hexdigest().upper()
    (folder / "model.onnx").write_bytes(external(folder, location="w.bin", checksum=checksum).SerializeToString())
    assert weft.onnx.load(folder / "model.onnx").w.shape == (2, 3)
    (folder / "sub").mkdir()
    (folder / "w.bin").rename(folder / "sub" / "w.bin")
    (folder / "model.onnx").write_bytes(external(folder, location="sub/w.bin").SerializeToString())
    assert weft.onnx.load(folder / "model.onnx").w.shape == (2, 3)


EXTERNAL = {
    "past the end": ({"location": "w.bin", "offset": "4"}, "expected bytes 4 to 28 of 'w.bin', which has 24"),
    "another length": ({"location": "w.bin", "length": "20"}, "expected external data of 24 bytes .* got length 20"),
    "a negative offset": ({"location": "w.bin", "offset": "-1"}, "expected offset of external data as a number"),
    "an offset of other digits": ({"location": "w.bin", "offset": "٣"}, "expected offset of external data as a number"),
    "a huge offset": ({"location": "w.bin", "offset": str(2**64)}, "expected offset of external data as a number"),
    "no location": ({"offset": "0"}, "external_data with location"),
    "another checksum": ({"location": "w.bin", "checksum": "0" * 40}, "expected 'w.bin' of SHA-1 '0+', got "),
    "an unknown key": ({"location": "w.bin", "basepath": ".."}, "external_data with location"),
}


@pytest.mark.parametrize("case", EXTERNAL)
def test_external_data_is_exactly_what_the_tensor_needs(case, folder):
    entries, words = EXTERNAL[case]
    refused(external(folder, **entries), folder, words)


def test_no_two_tensors_share_external_bytes(folder):
    made = [located(tensor(name, data_location=1), location="w.bin") for name in ("w", "v")]
    proto = model([node("Add", ["x", "w"], ["z"]), node("Add", ["z", "v"], ["y"])], made)
    refused(proto, folder, "for one tensor, got them for two")


def test_a_model_that_is_no_file_has_no_external_data(folder):
    import weft

    with pytest.raises(ValueError, match="external data of a model that is no file"):
        weft.onnx.Backend.prepare(external(folder, location="w.bin"))


# ---- structure


def function(name, *calls):
    from onnx import helper

    nodes = [node(kind, ["a" if i == 0 else f"b{i - 1}"], [f"b{i}"], domain=domain)
             for i, (kind, domain) in enumerate(calls)]  # fmt: skip
    return helper.make_function("local", name, ["a"], [f"b{len(calls) - 1}"], nodes, [helper.make_opsetid("", 20)])


def call(name):
    return [node(name, ["x"], ["y"], domain="local")]


def branches(depth):
    from onnx import helper

    graph = helper.make_graph([node("Neg", ["x"], ["v"])], "end", [], [helper.make_tensor_value_info("v", 1, None)])
    for i in range(depth):
        inner = node("If", ["flag"], [f"o{i}"], then_branch=graph)
        graph = helper.make_graph([inner], f"g{i}", [], [helper.make_tensor_value_info(f"o{i}", 1, None)])
    return node("If", ["flag"], ["y"], then_branch=graph, else_branch=graph)


def flag():
    return tensor("flag", (), b"\1", kind=9)


STRUCTURES = {
    "a cycle": (lambda: model([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Neg", ["b"], ["y"])]),
                "cycle, or are out of order"),
    "an input of nothing": (lambda: model([node("Add", ["x", "nothing"], ["y"])]), "its input 'nothing', got none"),
    "an output of nothing": (lambda: model([node("Neg", ["x"], ["z"])]), "outputs that some node makes, got 'y'"),
    "a name made twice": (lambda: model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "got 'y' again"),
    "an initializer twice": (lambda: model([node("Add", ["x", "w"], ["y"])], [tensor(values=FULL)] * 2), "'w' twice"),
    "an input twice": (lambda: model([node("Neg", ["x"], ["y"])], inputs=("x", "x")), "each name once, got 'x' twice"),
    "an output twice": (lambda: model([node("Split", ["x"], ["y", "y"])]), "each name once, got 'y' twice"),
    "no outputs of a node": (lambda: model([node("Neg", ["x"], ["y"]), node("Neg", ["x"], [])]), "at least one output"),
    "an unknown operator": (lambda: model([node("Nothing", ["x"], ["y"])]), "Weft runs, got Nothing"),
    "an unknown domain": (lambda: model([node("Neg", ["x"], ["y"], domain="com.acme")]), "of domain 'com.acme'"),
    "an unknown attribute": (lambda: model([node("Relu", ["x"], ["y"], alpha=1.0)]), "out of none, got alpha"),
    "a missing attribute": (lambda: model([node("Concat", ["x"], ["y"])]), "the attribute axis, got none"),
    "too many inputs": (lambda: model([node("Neg", ["x", "x"], ["y"])]), "expected 1 to 1 inputs, got 2"),
    "a new opset": (lambda: model([node("Neg", ["x"], ["y"])], opset=999), "opset of 1 to 28"),
    "an old opset": (lambda: model([node("Softmax", ["x"], ["y"])], opset=0), "opset of 1 to 28"),
    "a function of itself": (lambda: model(call("F"), functions=[function("F", ("F", "local"))]), "at most 16 graphs"),
    "a function twice": (lambda: model(call("F"), functions=[function("F", ("Neg", ""))] * 2), "each function once"),
    "functions that multiply": (
        lambda: model(call("F0"), functions=[*(function(f"F{i}", *[(f"F{i + 1}", "local")] * 40) for i in range(6)),
                                             function("F6", ("Neg", ""))]), "functions of at most 20000 nodes"),
    "graphs without end": (lambda: model([branches(18)], [flag()]), "at most 16 graphs within"),
    "text that is no UTF-8": (lambda: model([node("Neg", ["x"], ["y"], alph=1.0)]).SerializeToString().replace(
        b"alph", b"al\xff\xfe"), "expected fields of ONNX's types"),
    "no graph": (lambda: b"", "graph and an ir_version"),
    "no model": (lambda: b"\xff" * 30, "bytes that are none"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRUCTURES)
def test_what_is_wrong_with_a_graph_is_said(case, tmp_path):
    make, words = STRUCTURES[case]
    refused(make(), tmp_path, words)


def test_a_model_cut_anywhere_is_refused_or_whole(tmp_path):
    import weft

    data = with_tensor(tensor(values=FULL)).SerializeToString()
    for length in range(len(data)):
        (tmp_path / "model.onnx").write_bytes(data[:length])
        with pytest.raises(ValueError, match="onnx.load"):
            weft.onnx.load(tmp_path / "model.onnx")


def test_errors_of_a_run_name_the_node(tmp_path):
    import weft

    made = model([node("Reshape", ["x", "shape"], ["y"], name="flatten")],
                 [tensor("shape", (1,), np.array([5]).tobytes(), kind=7)])  # fmt: skip
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    module = weft.onnx.load(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"node 0 'flatten' \(Reshape\): reshape: expected a shape for 6 values"):
        module(np.ones((2, 3), np.float32))


@pytest.mark.parametrize("kind", ["Gather", "GatherElements", "ScatterElements", "GatherND", "ScatterND"])
def test_indices_out_of_range_are_errors(kind, tmp_path):
    import weft

    indices = tensor("i", (2, 1), np.array([[0], [5]]).tobytes(), kind=7)
    updates = tensor(
        "u", (2, 3) if kind == "ScatterND" else (2, 1), np.ones(6 if kind == "ScatterND" else 2, "f4").tobytes()
    )
    inputs = ["x", "i", "u"] if kind.startswith("Scatter") else ["x", "i"]
    (tmp_path / "model.onnx").write_bytes(model([node(kind, inputs, ["y"])], [indices, updates]).SerializeToString())
    with pytest.raises(ValueError, match=rf"\({kind}\): {kind}: expected indices in \[-2, 2\), got 0 to 5"):
        weft.onnx.load(tmp_path / "model.onnx")(np.ones((2, 3), np.float32))


@pytest.mark.parametrize("files", [300, pytest.param(2_500, marks=pytest.mark.slow)])
def test_thousands_of_damaged_models_are_read_or_refused(files):
    """In a process of limited memory; the command prints what it found."""
    require("onnx")
    script = ROOT / "fuzz" / "mutated_onnx.py"
    ended = subprocess.run([sys.executable, str(script), "--files", str(files)], capture_output=True, text=True,
                           env=os.environ | {"PYTHONPATH": str(ROOT / "python")})  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    counts = json.loads(ended.stdout)
    assert counts["refused"] + counts["read"] == files and counts["read"] > files // 50 and counts["ran"]
