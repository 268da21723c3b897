"""Weights that are mapped or in shards: read lazily, never from outside the folder, replaced all or nothing."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import weft
from weft import nn
from weft.io import CheckpointError, MappedFile, ShardedFiles, load, save, shards, write_sharded

rng = np.random.default_rng(5)
DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", ml_dtypes.bfloat16]


def numbers(dtype, shape=(3, 5)):
    bits = rng.integers(0, 2 if np.dtype(dtype) == bool else 100, shape)
    return bits.astype(dtype)


TENSORS = {f"t.{np.dtype(d).name}": numbers(d) for d in DTYPES}
TENSORS |= {"empty": np.empty((0, 4), "f"), "one": numbers("f", ())}


def same(ours, theirs):
    assert list(ours) == list(theirs) and len(ours) == len(theirs)
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype and ours[name].shape == array.shape, name
        assert ours[name].tobytes() == array.tobytes(), name
        assert name in ours and ours[name].flags.aligned
    assert "absent" not in ours


def test_every_dtype_comes_back_from_a_map(tmp_path):
    save(tmp_path / "w.safetensors", TENSORS, {"epoch": 3})
    file = load(tmp_path / "w.safetensors", mapped=True)
    same(file, TENSORS)
    assert file.metadata == {"epoch": 3} and file.shape("one") == () and not file["t.float32"].flags.writeable
    with pytest.raises(KeyError, match="absent"):
        file["absent"]


def test_a_map_is_the_file_itself(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, {"a": np.zeros(4, "f"), "b": np.ones(4, "f")})
    first, second = load(path, mapped=True)["a"], load(path, mapped=True)["a"]
    content = bytearray(path.read_bytes())
    content[-32:-16] = np.full(4, 7, "f").tobytes()  # `a`, written first
    with open(path, "r+b") as file:
        file.write(content)
    assert first[0] == 7 == second[0]


def test_what_is_not_asked_for_is_not_read(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, {"a": np.zeros(8, "f"), "b": np.ones(8, "f")})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    file = MappedFile(path)
    assert file["a"].sum() == 0
    for _ in range(2):
        with pytest.raises(CheckpointError, match="'b': checksum"):
            file["b"]


def test_files_of_other_writers_and_badly_aligned_ones(tmp_path):
    save_file({"w": TENSORS["t.float32"]}, tmp_path / "w.safetensors")
    same(load(tmp_path / "w.safetensors", mapped=True), {"w": TENSORS["t.float32"]})
    header = json.dumps({
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }).encode()  # fmt: skip
    values = np.array([1.5, -2], "f")
    (tmp_path / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\5" + values.tobytes())
    same(load(tmp_path / "odd.safetensors", mapped=True), {"a": np.array([5], "u1"), "b": values})


def test_saving_over_a_mapped_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save(path, {"w": np.ones(100_000)})
    held = load(path, mapped=True)
    save(path, {"w": held["w"] + 1})
    assert held["w"].min() == held["w"].max() == 1 and load(path)["w"].min() == 2
    save(path, held)  # and what is mapped itself
    assert load(path)["w"].max() == 1


def test_a_mapped_tree(tmp_path):
    save(tmp_path / "w.safetensors", {"model": {"w": np.arange(3)}, "step": 5})
    tree = load(tmp_path / "w.safetensors", mapped=True)
    assert tree["step"] == 5 and np.array_equal(tree["model"]["w"], np.arange(3))


def test_complex128_is_refused_with_a_word(tmp_path):
    with pytest.raises(TypeError, match="'z'.*complex128; the format has no name for it: save its real and imaginary"):
        save(tmp_path / "w.safetensors", {"z": np.zeros(2, complex)})


# ---- shards


def test_shards_are_written_and_read(tmp_path):
    size = save(tmp_path, TENSORS, {"epoch": 2}, shard_bytes=200)
    names = sorted(os.listdir(tmp_path))
    assert size == sum((tmp_path / name).stat().st_size for name in names)
    assert len(names) > 3 and names[-1] == "model.safetensors.index.json"
    assert names[0] == f"model-00001-of-{len(names) - 1:05d}.safetensors"
    for source in (tmp_path, tmp_path / names[-1]):
        same(load(source), TENSORS)
        same(load(source, mapped=True), TENSORS)
    assert load(tmp_path)["t.float32"].flags.writeable and not load(tmp_path, mapped=True)["t.float32"].flags.writeable
    largest = max(array.nbytes for array in TENSORS.values())
    for name in names[:-1]:
        assert sum(array.nbytes for array in load(tmp_path / name).values()) <= max(200, largest)


def test_a_folder_keeps_one_set_of_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for k, limit in enumerate((20, 10**9, 20, 24, 10**9)):  # shards, one file, the same shards, others
        state = {f"w{i}": np.full(4, k, "f") for i in range(5)}
        write_sharded(tmp_path, state, shard_bytes=limit)
        same(load(tmp_path), state)
        expected = {"model.safetensors"} if limit == 10**9 else set(read_places(tmp_path).values()) | {shards.INDEX}
        assert set(os.listdir(tmp_path)) == expected | {"config.json"}


def read_places(folder):
    return json.loads((folder / shards.INDEX).read_text())["weight_map"]


@pytest.mark.parametrize("fails_at", [1, 3, 5])
def test_a_full_disk_leaves_the_old_shards(tmp_path, monkeypatch, fails_at):
    old = {f"w{i}": np.full(4, 1.5, "f") for i in range(5)}
    write_sharded(tmp_path, old, shard_bytes=20)
    before, calls, real = set(os.listdir(tmp_path)), [], os.replace

    def full(*args):
        calls.append(args)
        if len(calls) >= fails_at:
            raise OSError(28, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr("weft.io.durable.os.replace", full)
        with pytest.raises(CheckpointError, match="No space left"):
            write_sharded(tmp_path, {name: array + 1 for name, array in old.items()}, shard_bytes=20)
    assert set(os.listdir(tmp_path)) == before
    same(load(tmp_path), old)


def test_mapped_shards_stay_good_when_the_folder_is_written_anew(tmp_path):
    state = {f"w{i}": np.full(4, i, "f") for i in range(4)}
    write_sharded(tmp_path, state, shard_bytes=20)
    held = load(tmp_path, mapped=True)
    write_sharded(tmp_path, {name: held[name] + 1 for name in held}, shard_bytes=20)
    same(held, state)
    assert load(tmp_path)["w3"][0] == 4


PLACES = {
    "up": {"w": "../w.safetensors"},
    "absolute": {"w": "/tmp/w.safetensors"},
    "folder": {"w": "sub/w.safetensors"},
    "backslash": {"w": "..\\w.safetensors"},
    "dots": {"w": "...safetensors"},
    "nothing": {"w": ""},
    "null": {"w": "w\0.safetensors"},
    "pickle": {"w": "pytorch_model.bin"},
    "number": {"w": 3},
    "list": [],
}


@pytest.mark.parametrize("name", PLACES)
def test_shard_names_stay_in_the_folder(tmp_path, name):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        save(place / "w.safetensors", {"w": np.ones(2, "f")})
    (folder / shards.INDEX).write_text(json.dumps({"weight_map": PLACES[name]}))
    with pytest.raises(CheckpointError, match="beside the index|weight_map"):
        load(folder)


def test_an_index_that_is_wrong(tmp_path):
    write_sharded(tmp_path, {"a": np.ones(4, "f"), "b": np.zeros(4, "f")}, shard_bytes=16)
    index = tmp_path / shards.INDEX
    first, second = read_places(tmp_path).values()

    def refused(text, message):
        index.write_text(text if isinstance(text, str) else json.dumps({"weight_map": text}))
        with pytest.raises(CheckpointError, match=message):
            ShardedFiles(index)

    refused({"a": first, "b": first}, "tensor 'b' in .*a file without it")
    refused({"a": second}, "tensor 'a'")
    refused({"a": first, "b": second, "c": second}, "tensor 'c'")
    refused({"b": second, "a": "absent.safetensors"}, "absent.safetensors beside it")
    refused(f'{{"weight_map": {{"a": "{first}", "a": "{second}"}}}}', "'a' twice")
    refused("[1]", "JSON object")
    refused("{", "expected JSON")
    refused("[" * 100_000, "expected JSON")
    refused({f"t{i}": f"f{i}.safetensors" for i in range(1001)}, "at most")
    save(tmp_path / second, {"b": np.zeros(4, "f"), "extra": np.zeros(1, "f")})
    refused({"a": first, "b": second}, "'extra'")


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected model.safetensors or model.safetensors.index.json in"):
        load(tmp_path)
    with pytest.raises(TypeError, match="flat dict"):
        save(tmp_path, {"a": {"b": np.ones(2)}}, shard_bytes=100)
    with pytest.raises(ValueError, match="at least 1 byte"):
        write_sharded(tmp_path, {}, shard_bytes=0)


def test_more_shards_than_can_be_read_are_not_written(tmp_path):
    old = {"a": np.ones(2, "f")}
    save(tmp_path / shards.WHOLE, old)
    with pytest.raises(ValueError, match="at most 1000 files, got shard_bytes 8 for 1001"):
        write_sharded(tmp_path, {f"t{i}": np.ones(2, "f") for i in range(1001)}, shard_bytes=8)
    same(load(tmp_path), old)


# ---- other formats


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.bin", "m.ckpt", "m.pkl", "m.h5", "M.PT"])
def test_other_formats_are_refused_with_the_line_that_converts_them(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    for mapped in (False, True):
        with pytest.raises(CheckpointError, match="convert it once: python -c ") as caught:
            load(tmp_path / name, mapped=mapped)
        assert str(caught.value).endswith(f'" {name} {name[0]}.safetensors')
    with pytest.raises(CheckpointError if name[0] == "m" else FileNotFoundError):
        load(tmp_path)


@pytest.mark.parametrize(
    "content, kind",
    [(b"PK\3\4" + b"\0" * 99, "PyTorch"), (b"\x80\2}q\0.aaaa", "a pickle"), (b"\x89HDF\r\n\x1a\n", "HDF5")],
    ids=["zip", "pickle", "hdf5"],
)
def test_other_formats_under_a_wrong_name(tmp_path, content, kind):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=kind):
        load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["m", '$(touch ran) \'a";touch ran;"'], ids=["plain", "hostile"])
def test_a_pickle_is_converted_by_its_line(tmp_path, name):
    import pickle

    state = {"w": rng.standard_normal((2, 3)).astype("f")}
    (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(state))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / f"{name}.pkl")
    line = str(caught.value).partition("; convert it once: python ")[2]
    subprocess.run(["sh", "-c", f"{shlex.quote(sys.executable)} {line}"], cwd=tmp_path, check=True)
    same(load(tmp_path / f"{name}.safetensors"), state)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.pkl", f"{name}.safetensors"]


# ---- names


def test_wrong_names_come_with_the_nearest_and_both_shapes():
    model = nn.Sequential({"first": nn.Linear(3, 4), "second": nn.Linear(4, 2)})
    state = model.state_dict()
    state["module.first.weight"] = state.pop("first.weight")
    state["second.bais"] = state.pop("second.bias")
    state["other"] = np.ones(7)
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    assert "first.weight: missing, expected shape (4, 3) (nearest: module.first.weight (4, 3))" in message
    assert "module.first.weight: unexpected, got shape (4, 3) (nearest: first.weight (4, 3))" in message
    assert "second.bias: missing, expected shape (2,) (nearest: second.bais (2,))" in message
    assert "other: unexpected, got shape (7,)\n" in message + "\n"


def test_a_module_is_loaded_from_a_map(tmp_path):
    model, other = nn.Linear(3, 4), nn.Linear(3, 4)
    save(tmp_path / "w.safetensors", model.state_dict())
    other.load_state_dict(weft.load(tmp_path / "w.safetensors", mapped=True))
    assert np.array_equal(other.weight.numpy(), model.weight.numpy())
    other.weight.assign(np.zeros((4, 3), "f"))  # the parameter's memory is its own
    assert load(tmp_path / "w.safetensors")["weight"].any()
