"""Event files, read back by TensorBoard's own reader."""

import struct

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader
from weft.train import SummaryWriter, TensorBoard, Trainer, events
from weft.train.tensorboard import png


def draw(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


def accumulated(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def loaded(folder):
    """The Event messages of a folder's files, before TensorBoard turns old kinds of values into new ones."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    return [event for path in sorted(folder.iterdir()) if path.is_file() for event in
            LegacyEventFileLoader(str(path)).Load()]  # fmt: skip


def bitwise_crc(text):
    register = 0xFFFFFFFF
    for byte in text:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_checksums():
    assert events.crc32c(b"123456789") == 0xE3069283  # RFC 3720 and the catalogue of CRCs
    assert events.crc32c(bytes(32)) == 0x8A9136AA
    for n in (0, 1, 255, 4095, 4096, 4097, 9001):
        text = np.random.default_rng(n).bytes(n)
        assert events.crc32c(text) == bitwise_crc(text)


def test_varints():
    for value in (0, 1, 127, 128, 300, 2**31, 2**63 - 1):
        text = events.varint(value)
        assert sum((byte & 127) << 7 * i for i, byte in enumerate(text)) == value
        assert all(byte > 127 for byte in text[:-1]) and text[-1] < 128
    assert len(events.varint(-1)) == 10


@needs("tensorboard")
def test_scalars(tmp_path):
    given = [(3, 0.5), (10, -1e-30), (2**40, 3e38), (2**40 + 1, float("inf"))]
    with SummaryWriter(tmp_path) as writer:
        for step, value in given:
            writer.add_scalar("a/loss", value, step, wall_time=step + 0.25)
        writer.add_scalar("tensor", weft.Tensor([2.0]))
        writer.add_scalars("both", {"x": 1, "y": np.float64(2)}, 7)
    found = accumulated(tmp_path)
    assert sorted(found.Tags()["scalars"]) == ["a/loss", "both/x", "both/y", "tensor"]
    read = [(e.step, e.value, e.wall_time) for e in found.Scalars("a/loss")]
    assert read == [(step, float(np.float32(value)), step + 0.25) for step, value in given]
    assert found.Scalars("both/y")[0].value == 2 and found.Scalars("tensor")[0].step == 0
    with SummaryWriter(tmp_path / "other") as writer, pytest.raises(TypeError, match=r"float64 \(2,\)"):
        writer.add_scalar("two", np.ones(2))


@needs("tensorboard")
def test_a_damaged_record_is_seen_by_the_reader(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", 0.5, 1)
    (path,) = tmp_path.iterdir()
    text = bytearray(path.read_bytes())
    text[-6] ^= 1
    path.write_bytes(text)
    assert not accumulated(tmp_path).Tags()["scalars"]


@needs("tensorboard")
@pytest.mark.parametrize("bins", ["tensorflow", 7], ids=str)
def test_histograms(tmp_path, bins):
    values = np.concatenate([draw(500), [0.0, 0.0, -3.5, 1e-7]])
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("weights", weft.Tensor(values), 4, bins=bins)
        writer.add_histogram("equal", np.full(9, 2.5))
        writer.add_histogram("huge", np.array([1e30, -1e25, 1.0]))
        for wrong in (np.array([]), np.array([1, np.nan])):
            with pytest.raises(ValueError, match="finite"):
                writer.add_histogram("wrong", wrong)
    found = accumulated(tmp_path)
    (event,) = found.Histograms("weights")
    histogram = event.histogram_value
    assert (event.step, histogram.num) == (4, len(values))
    assert (histogram.min, histogram.max) == (values.min(), values.max())
    assert np.isclose(histogram.sum, values.sum()) and np.isclose(histogram.sum_squares, (values**2).sum())
    limits, counts = np.asarray(histogram.bucket_limit), np.asarray(histogram.bucket)
    expected = [np.count_nonzero((values >= a) & (values < b)) for a, b in zip(limits, limits[1:])]
    expected[-1] += np.count_nonzero(values == limits[-1])
    assert counts[0] == 0 and counts[1:].tolist() == expected and counts.sum() == len(values)
    assert sum(found.Histograms("equal")[0].histogram_value.bucket) == 9
    assert sum(found.Histograms("huge")[0].histogram_value.bucket) == 3


@needs("tensorboard", "PIL")
def test_images(tmp_path):
    import io

    from PIL import Image

    colour = (draw(3, 5, 7) > 0).astype(np.float32) * 0.4
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("colour", weft.Tensor(colour), 2)
        writer.add_image("grey", np.arange(12, dtype=np.uint8).reshape(3, 4), dataformats="HW")
        writer.add_image("alpha", np.full((2, 3, 4), 9, np.uint8), dataformats="HWC")
        writer.add_images("grid", np.linspace(0, 1, 5 * 4 * 6).reshape(5, 1, 4, 6), columns=3)
        with pytest.raises(ValueError, match="floats from 0 to 1"):
            writer.add_image("wrong", colour + 1)
        with pytest.raises(ValueError, match="1, 3 or 4 channels"):
            writer.add_image("wrong", np.zeros((2, 5, 7)))
        with pytest.raises(ValueError, match="dataformats"):
            writer.add_image("wrong", np.zeros((5, 7)))
    found = accumulated(tmp_path)
    read = {tag: found.Images(tag)[0] for tag in found.Tags()["images"]}
    assert (read["colour"].step, read["colour"].width, read["colour"].height) == (2, 7, 5)
    pixels = {tag: np.asarray(Image.open(io.BytesIO(e.encoded_image_string))) for tag, e in read.items()}
    np.testing.assert_array_equal(pixels["colour"], np.round(colour * 255).transpose(1, 2, 0))
    np.testing.assert_array_equal(pixels["grey"], np.arange(12).reshape(3, 4))
    assert pixels["alpha"].shape == (2, 3, 4) and (pixels["alpha"] == 9).all()
    assert pixels["grid"].shape == (8, 18) and not pixels["grid"][4:, 12:].any()
    np.testing.assert_array_equal(pixels["grid"][:4, 6:12], np.round(np.linspace(0, 255, 120).reshape(5, 4, 6)[1]))


@needs("matplotlib", "PIL")
def test_figures_and_pictures_are_png_files(tmp_path):
    from matplotlib.figure import Figure

    with SummaryWriter(tmp_path) as writer:
        figure = Figure(figsize=(1, 1), dpi=20)
        figure.add_subplot().plot([1, 2])
        writer.add_figure("plot", figure)
    (path,) = tmp_path.iterdir()
    assert b"\x89PNG" in path.read_bytes()
    width, height = struct.unpack(">II", png(np.zeros((3, 4, 1), np.uint8))[16:24])
    assert (width, height) == (4, 3)


@needs("tensorboard")
def test_texts(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("notes", "**größer** als 1", 3)
    (event,) = accumulated(tmp_path).Tensors("notes/text_summary")
    assert event.step == 3 and event.tensor_proto.string_val[0].decode() == "**größer** als 1"
    found = [v for e in loaded(tmp_path) for v in e.summary.value]
    assert found[0].metadata.plugin_data.plugin_name == "text"


@needs("tensorboard")
def test_graphs(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Sequential(nn.Linear(4 * 36, 10)))
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(model, weft.zeros((2, 1, 8, 8)))
    graph = accumulated(tmp_path).Graph()
    nodes = {node.name: node for node in graph.node}
    assert len(nodes) == len(graph.node)
    assert {"input_0", "0/weight", "0/conv2d", "1/relu", "3/0/weight", "3/0/linear", "output_0"} <= set(nodes)
    assert list(nodes["0/conv2d"].input) == ["input_0", "0/weight", "0/bias"]
    assert list(nodes["1/relu"].input) == ["0/conv2d"]
    shape = lambda name: [d.size for d in nodes[name].attr["_output_shapes"].list.shape[0].dim]
    assert shape("0/conv2d") == [2, 4, 6, 6] and shape("output_0") == [2, 10] and shape("3/0/weight") == [10, 144]
    assert all(i in nodes for node in graph.node for i in node.input)


@needs("tensorboard")
def test_hyperparameters(tmp_path):
    from tensorboard.plugins.hparams import plugin_data_pb2

    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.1, "layers": 3, "norm": True, "name": "a"}, {"accuracy": 0.9}, name="run")
        with pytest.raises(TypeError, match="for 'sizes'"):
            writer.add_hparams({"sizes": [1]}, {})
    found = {}
    for event in loaded(tmp_path / "run"):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                found[value.tag] = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
    experiment = found["_hparams_/experiment"].experiment
    assert [info.name for info in experiment.hparam_infos] == ["lr", "layers", "norm", "name"]
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy"]
    start = found["_hparams_/session_start_info"].session_start_info.hparams
    assert start["lr"].number_value == 0.1 and start["norm"].bool_value is True and start["name"].string_value == "a"
    assert found["_hparams_/session_end_info"].session_end_info.status == 1
    assert accumulated(tmp_path / "run").Scalars("accuracy")[0].value == np.float32(0.9)


def trainer(tmp_path, **options):
    weft.random.seed(0)
    model = nn.Linear(3, 2)
    return Trainer(model, optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), metrics=["accuracy"],
                   out=tmp_path, progress=False, log_every=2, **options)  # fmt: skip


def loader():
    return DataLoader(ArrayDataset(draw(40, 3).astype("f"), np.arange(40) % 2), batch_size=10)


@needs("tensorboard")
def test_a_trainer_writes_what_it_records(tmp_path):
    run = trainer(tmp_path, tensorboard=True, callbacks=[TensorBoard(tmp_path / "more", histograms=True)])
    records = run.fit(loader(), loader(), epochs=2)
    found = accumulated(tmp_path / "tensorboard")
    losses = found.Scalars("loss/train")
    assert [(e.step, e.value) for e in losses] == [(r["step"], np.float32(r["loss"])) for r in records]
    for tag, key in (("accuracy/validation", "validation_accuracy"), ("run/learning_rate", "learning_rate")):
        assert [e.value for e in found.Scalars(tag)] == [np.float32(r[key]) for r in records]
    assert [e.step for e in found.Scalars("step/loss")] == [2, 4, 6, 8]
    histograms = accumulated(tmp_path / "more")
    assert sorted(histograms.Tags()["histograms"]) == ["gradients/bias", "gradients/weight", "parameters/bias",
                                                       "parameters/weight"]  # fmt: skip
    with pytest.raises(ValueError, match="tensorboard=True"):
        trainer(None, tensorboard=True)


class StopAt(weft.train.Callback):
    def on_step(self, trainer):
        if trainer.step == 5:
            raise KeyError("power cut")


@needs("tensorboard")
@pytest.mark.parametrize("every", [3, 1000], ids=["from_a_checkpoint", "from_the_start"])
def test_a_resumed_run_writes_each_step_once(tmp_path, every):
    with pytest.raises(KeyError):
        trainer(tmp_path, tensorboard=True, callbacks=[StopAt()], checkpoint_steps=every).fit(loader(), epochs=2)
    trainer(tmp_path, tensorboard=True, callbacks=[weft.train.Callback()], checkpoint_steps=every).fit(
        loader(), epochs=2, resume=True
    )
    found = accumulated(tmp_path / "tensorboard")
    assert [e.step for e in found.Scalars("step/loss")] == [2, 4, 6, 8]
    assert [e.step for e in found.Scalars("loss/train")] == [4, 8]
