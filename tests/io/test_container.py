"""Weights and checkpoints: what is written is read back; what is damaged, cut or hostile is refused by name."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from policy import ROOT
from weft.io import CheckpointError, durable, load, read_file, save, write_file
from weft.io.state import load_with_metadata

rng = np.random.default_rng(0)

TENSORS = {
    "conv.weight": rng.standard_normal((4, 3, 3, 3)).astype("f"),
    "steps": np.array(7, "i8"),
    "mask": np.array([True, False, True]),
    "empty": np.empty((0, 5), "f"),
    "half": rng.standard_normal(5).astype("e"),
    "brain": rng.standard_normal((2, 3)).astype(ml_dtypes.bfloat16),
    "double": rng.standard_normal((3, 2)).T,
    "bytes": np.arange(7, dtype="u1"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def test_what_is_written_is_read(path):
    size = write_file(path, TENSORS, {"step": 3, "note": "é", "list": [1.5, None]})
    assert size == path.stat().st_size
    tensors, metadata = read_file(path, checksums=True)
    assert list(tensors) == list(TENSORS) and metadata == {"step": 3, "note": "é", "list": [1.5, None]}
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype and tensors[name].shape == array.shape
        assert tensors[name].tobytes() == array.tobytes()
        assert tensors[name].flags.writeable and tensors[name].flags.aligned


def test_other_readers_and_writers(path, tmp_path):
    write_file(path, TENSORS, {"step": 3})
    theirs = load_file(path)
    assert all(theirs[name].tobytes() == array.tobytes() for name, array in TENSORS.items())
    save_file({"w": TENSORS["conv.weight"]}, tmp_path / "other.safetensors", {"format": "pt"})
    tensors, metadata = read_file(tmp_path / "other.safetensors")
    assert metadata == {"format": "pt"} and np.array_equal(tensors["w"], TENSORS["conv.weight"])
    with pytest.raises(CheckpointError, match="expected checksums"):
        read_file(tmp_path / "other.safetensors", checksums=True)


def test_nested_state(path):
    state = {
        "optimizer": {
            "state": {0: {"exp_avg": np.ones(3, "f"), "step": 4}},
            "groups": [{"betas": (0.9, 0.999), "lr": 1e-3}],
        },
        "a": {"b": np.zeros(2)}, "a.b": np.ones(2), "nan": float("nan"), "inf": -float("inf"), "none": None,
        "text": "x", "flag": True, "scalar": np.float32(0.1), "list": [],
    }  # fmt: skip
    save(path, state, {"recipe": "digits"})
    back, metadata = load_with_metadata(path)
    assert metadata == {"recipe": "digits"} and list(back) == list(state)
    assert back["optimizer"]["groups"] == [{"betas": (0.9, 0.999), "lr": 1e-3}]
    assert back["optimizer"]["state"][0]["step"] == 4 and back["optimizer"]["state"][0]["exp_avg"].dtype == np.float32
    assert back["a"]["b"].sum() == 0 and back["a.b"].sum() == 2
    assert np.isnan(back["nan"]) and back["inf"] == -float("inf") and back["none"] is None and back["flag"] is True
    assert back["scalar"] == np.float32(0.1) and back["list"] == []


def test_a_flat_state_dict_is_a_plain_file(path):
    save(path, {"weight": np.ones((2, 2), "f"), "bias": np.zeros(2, "f")})
    assert set(load_file(path)) == {"weight", "bias"} == set(load(path))


@pytest.mark.parametrize(
    "bad, error",
    [([1], "a dict"), ({"f": print}, "'f'"), ({(1, 2): 3}, "keys"), ({"o": np.array([print])}, "'o'"),
     ({"s": np.array("text")}, "'s'")],
)  # fmt: skip
def test_what_cannot_be_saved_is_named(path, bad, error):
    with pytest.raises(TypeError, match=error):
        save(path, bad)
    assert not path.exists()


# ---- damage


def damaged(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_with_metadata(path)


def test_every_flipped_bit_is_found(path):
    save(path, {"model": {"weight": rng.standard_normal((3, 4)).astype("f")}, "step": 12})
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in range(8):
            damaged(path, good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])


def test_every_cut_is_found(path):
    save(path, {"model": {"weight": np.ones((3, 4), "f")}, "step": 12})
    good = path.read_bytes()
    for length in range(len(good)):
        damaged(path, good[:length])
    damaged(path, good + b"\0")


@pytest.mark.parametrize("files", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_damaged_files(files):
    """Read or refused with a word, in little memory: what `make fuzz` does before it fuzzes."""
    command = [sys.executable, ROOT / "fuzz" / "mutated.py", "--files", str(files), "--seed", "3"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    counts = json.loads(ended.stdout)
    assert counts["refused"] + counts["read"] == files and 0 < counts["read"] < files / 5


def test_the_tensor_is_named(path):
    write_file(path, {"first": np.zeros(8, "f"), "second": np.ones(8, "f")})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="'second': checksum"):
        read_file(path)


# ---- hostile headers


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HOSTILE = {
    "empty": (b"", "0 bytes"),
    "header beyond the file": ((2**40).to_bytes(8, "little") + b"{}", "header of"),
    "header length -1": (b"\xff" * 8 + b"{}", "header of"),
    "not JSON": (file_of(b"{broken}"), "not JSON"),
    "not UTF-8": (file_of(b'{"\xff\xfe": 1}'), "not JSON"),
    "deep": (file_of(b"[" * 100_000), "not JSON"),
    "a list": (file_of([1, 2]), "not JSON: expected it to begin with {"),
    "space before": (file_of(b" {}"), "not JSON: expected it to begin with {"),
    "two objects": (file_of(b"{}{}"), "not JSON"),
    "NaN": (file_of(b'{"a": NaN}'), "NaN"),
    "duplicate": (file_of(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                          b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"), "twice"),
    "duplicate inside": (file_of(b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"), "twice"),
    "overlap": (file_of({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, b"x" * 12), "'b': expected to begin at byte"),
    "hole": (file_of({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"x" * 12), "'b'"),
    "beyond the file": (file_of({"a": entry([100], 0, 400)}, b"x" * 12), "truncated"),
    "more than declared": (file_of({"a": entry([1], 0, 4)}, b"x" * 12), "longer"),
    "backwards": (file_of({"a": entry([1], 4, 0)}, b"x" * 4), "data_offsets"),
    "negative": (file_of({"a": entry([-1], 0, 4)}, b"x" * 4), "shape"),
    "boolean size": (file_of({"a": entry([True], 0, 4)}, b"x" * 4), "shape"),
    "float size": (file_of({"a": entry([1.0], 0, 4)}, b"x" * 4), "shape"),
    "product that wraps": (file_of({"a": entry([2**32 + 1, 2**32, 4, 1], 0, 4, "U8")}, b"x" * 4), "'a'"),
    "product beyond memory times zero": (file_of({"a": entry([2**62, 2**62, 0], 0, 0)}), "beyond any memory"),
    "many axes": (file_of({"a": entry([1] * 65, 0, 4)}, b"x" * 4), "shape"),
    "shape and bytes differ": (file_of({"a": entry([3], 0, 4)}, b"x" * 4), "takes 12 bytes"),
    "unknown dtype": (file_of({"a": entry([1], 0, 4, "OBJECT")}, b"x" * 4), "known dtype"),
    "dtype of another type": (file_of({"a": entry([1], 0, 4, ["F32"])}, b"x" * 4), "known dtype"),
    "extra field": (file_of({"a": {**entry([1], 0, 4), "file": "/etc/passwd"}}, b"x" * 4), "expected dtype"),
    "metadata not text": (file_of({"__metadata__": {"a": 1}}), "strings"),
    "booleans of 7": (file_of({"a": entry([2], 0, 2, "BOOL")}, b"\x01\x07"), "booleans"),
    "too many": (file_of({str(i): entry([0], 0, 0) for i in range(100_001)}), "at most"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name, path):
    content, message = HOSTILE[name]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_file(path)


FIELDS = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**70) | st.sampled_from(["F32", "U8", "BF16", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "a"]), inner),
    max_leaves=5,
)
ENTRIES = FIELDS | st.fixed_dictionaries({
    "dtype": st.sampled_from(["F32", "U8", "BF16", "BOOL"]) | FIELDS,
    "shape": st.lists(st.integers(0, 5), max_size=3) | FIELDS,
    "data_offsets": st.lists(st.integers(0, 40), min_size=2, max_size=2) | FIELDS,
})  # fmt: skip


@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRIES), st.binary(max_size=40))
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_header_is_read_or_refused(path, header, data):
    path.write_bytes(file_of(header, data))
    try:
        tensors, _ = read_file(path)
        assert sum(array.nbytes for array in tensors.values()) == len(data)
    except CheckpointError as error:
        assert str(path) in str(error)


def test_a_hostile_tree(path):
    for tree in ({"tensor": "absent"}, {"dict": []}, {"what": 1}, {}, {"dict": {}, "tuple": []}, {"float": "x"}):
        write_file(path, {}, {"weft.tree": tree})
        with pytest.raises(CheckpointError, match="tree"):
            load(path)
    deep: object = 1
    for _ in range(100):
        deep = {"tuple": [deep]}
    write_file(path, {}, {"weft.tree": deep})
    with pytest.raises(CheckpointError, match="levels"):
        load(path)


def test_loading_runs_nothing(path):
    save(path, {"model": {"w": np.ones(3)}})
    code = (
        "import sys, weft.io\nseen = []\nopened = set()\n"
        "def hook(event, args):\n"
        "    if event.split('.')[0] in ('pickle', 'exec', 'compile', 'subprocess', 'os'): seen.append(event)\n"
        "    if event == 'open' and any(c in str(args[1]) for c in 'wa+'): seen.append(event)\n"
        "weft.io.load(sys.argv[1])\n"  # imports of the first load are not the file's doing
        "sys.addaudithook(hook)\nweft.io.load(sys.argv[1])\nprint(seen)"
    )
    out = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ---- the disk


@pytest.mark.parametrize("broken", ["write", "fsync", "replace", "open"])
def test_a_full_disk_leaves_the_old_file(path, monkeypatch, broken):
    save(path, {"w": np.zeros(1000)})
    old = path.read_bytes()
    real, calls = getattr(os, broken), []

    def full(*args, **kwargs):
        calls.append(args)
        if broken == "write" and len(calls) == 1:
            return real(args[0], bytes(args[1][:50]))  # a short write, then the error
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, broken, full)
        with pytest.raises(CheckpointError, match="No space left.*unchanged"):
            save(path, {"w": np.ones(1000)})
    assert path.read_bytes() == old and os.listdir(path.parent) == [path.name]


def test_short_writes_are_continued(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(durable.os, "write", lambda handle, data: real(handle, bytes(data[:100])))
    save(path, {"w": np.arange(1000)})
    assert np.array_equal(load(path)["w"], np.arange(1000))


def test_saving_over_a_file_that_is_in_use(path):
    save(path, {"w": np.ones(100_000)})
    held = load(path)["w"]
    save(path, {"w": held + 1})
    assert held.min() == 1 and load(path)["w"].min() == 2


def test_leftovers_of_killed_processes(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for process in (gone.pid, os.getpid(), os.getppid()):
        (tmp_path / f"x.safetensors.{process}.partial").touch()
    durable.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [f"x.safetensors.{os.getppid()}.partial"]
