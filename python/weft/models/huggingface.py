"""Models from a folder of Hugging Face's layout, config.json and safetensors, and back into one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from weft.autograd import Tensor
from weft.backends.array import device_of
from weft.backends.device import check_device, default_device, place
from weft.io import write_durably
from weft.io.shards import SHARD_BYTES, write_sharded
from weft.io.state import load
from weft.models.config import CONFIG, Config, read_config
from weft.nn import init
from weft.nn.module import Module, is_float, loadable, mismatches
from weft.random import default_generator

Names = dict[str, str]  # the module's name of a tensor -> the file's


class Pretrained(Module):
    """A model whose parameters have the names that files of its kind have.

    A subclass says what its files look like: `config_class`; `prefix`, the attribute that holds all but the heads, and
    which older files leave out; `renamed`, patterns of older names and what they are today; `ignored`, a pattern of
    tensors that carry no weight of the model; `transposed`, one of matrices that lie (inputs, outputs) in files.
    """

    config_class: ClassVar[type[Config]]
    prefix: ClassVar[str] = ""
    heads: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    ignored: ClassVar[str] = r"(?!)"
    transposed: ClassVar[str] = r"(?!)"
    config: Config

    def __init__(self, config: Config):
        self.config = config

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, dtype: Any = None, fresh: tuple[str, ...] = (), without: tuple[str, ...] = (),
        **changes: Any,
    ) -> Self:  # fmt: skip
        """The model in a folder with config.json and model.safetensors (or shards and their index), in eval mode.

        dtype: that of the floating-point parameters, by default each one's in the file. fresh: beginnings of names of
        parameters that the file need not have and that start anew (a new head); without: of tensors of the file that
        are left out (another head). changes: fields of the configuration to set, such as num_labels=3. ValueError names
        a field that is not supported, and every tensor that is missing, unexpected or of another shape;
        io.CheckpointError a damaged file. Nothing is allocated before all shapes agree.

        >>> models.BertForSequenceClassification.from_pretrained(                           # doctest: +SKIP
        ...     "bert", fresh=("classifier", "bert.pooler"), without=("cls.",), num_labels=3)
        """
        folder = Path(folder)
        fields = read_config(folder)
        if fields.get("model_type") != cls.config_class.model_type:
            raise ValueError(f"{cls.__name__}: expected model_type {cls.config_class.model_type!r} in "
                             f"{folder / CONFIG}, got {fields.get('model_type')!r}")  # fmt: skip
        if "num_labels" in changes:
            fields = {name: value for name, value in fields.items() if name not in ("id2label", "label2id")}
        if dtype is not None and not is_float(dtype):
            raise ValueError(f"{cls.__name__}: expected a floating dtype, got {np.dtype(dtype)}")
        config = cls.config_class.from_dict({**fields, **changes})
        weights = load(folder, mapped=True)
        if not hasattr(weights, "shape"):
            raise ValueError(f"{cls.__name__}: expected tensors by name in {folder}, got a nested state_dict")
        if config.layers() > len(weights):
            raise ValueError(f"{cls.__name__}: expected the tensors of {config.layers()} layers in {folder}, "
                             f"got {len(weights)}")  # fmt: skip
        with init.shapes_only():
            model = cls(config)
        model.fill(weights, dtype, fresh, without)
        return model.eval()

    def tied(self) -> tuple[tuple[str, str], ...]:
        """(name that a file may have beside, name of the parameter whose values it then repeats)."""
        return ()

    def save_pretrained(self, folder: Path | str, *, shard_bytes: int = SHARD_BYTES) -> None:
        """Write config.json and the weights, in files of at most `shard_bytes`, so that transformers loads them too."""
        folder = Path(folder)
        tensors = {}
        for name, array in self.state_dict().items():
            tensors[name] = np.ascontiguousarray(array.T) if re.search(self.transposed, name) else array
        write_sharded(folder, tensors, {"format": "pt"}, shard_bytes=shard_bytes)
        dtype = next(p.dtype.name for p in self.parameters())
        fields = {**self.config.to_dict(), "architectures": [type(self).__name__], "dtype": dtype}
        text = json.dumps(dict(sorted(fields.items())), indent=2, allow_nan=False)
        write_durably(folder / CONFIG, [text.encode()])

    def fill(self, weights: Any, dtype: Any, fresh: tuple[str, ...], without: tuple[str, ...]) -> None:
        """Give every parameter and buffer its array out of `weights`, once all names and shapes are right."""
        own = dict(self._state())
        names = self.names_in(weights, without)
        wanted, given = {n: own[n].shape for n in own}, {n: self.shape_in(weights, n, names[n]) for n in names}
        begin = {n for n in own if n not in names and n.startswith(fresh)} if fresh else set()
        lines = mismatches({n: shape for n, shape in wanted.items() if n not in begin}, given)
        if lines:
            raise ValueError(f"{type(self).__name__}: expected its names and shapes, got\n  " + "\n  ".join(lines))
        for name, target in own.items():
            if name in begin:
                continue
            array = weights[names[name]]
            array = array.T if re.search(self.transposed, name) else array
            if array.dtype != target.dtype and not loadable(array.dtype, target.dtype):
                raise ValueError(f"{type(self).__name__}: {name}: expected dtype {target.dtype}, got {array.dtype}")
            kind = target.dtype if not is_float(target.dtype) else array.dtype if dtype is None else dtype
            put(target, np.array(array, kind, order="C"))
        common = next((own[name].dtype for name in names if is_float(own[name].dtype)), np.float32)
        for name in begin:
            kind = own[name].dtype if not is_float(own[name].dtype) else common if dtype is None else dtype
            put(own[name], starting(name, own[name], self.config).astype(kind))

    def names_in(self, weights: Mapping[str, Any], without: tuple[str, ...]) -> Names:
        """The module's name of each tensor of a file that belongs to it -> the file's name."""
        names: Names = {}
        bare = self.prefix and not any(name.startswith(f"{self.prefix}.") for name in weights)
        for there in weights:
            if without and there.startswith(without):
                continue
            name = there
            for pattern, today in self.renamed:
                name = re.sub(pattern, today, name)
            if bare and not name.startswith(self.heads or "\0"):
                name = f"{self.prefix}.{name}"
            if re.search(self.ignored, name):
                continue
            if name in names:
                raise ValueError(
                    f"{type(self).__name__}: expected one tensor for {name}, got {names[name]} and {there}"
                )
            names[name] = there
        for copy, origin in self.tied():
            if copy in names:
                there = names.pop(copy)
                if not np.array_equal(weights[there], weights[names.setdefault(origin, there)]):
                    raise ValueError(f"{type(self).__name__}: expected {copy} to be {origin}, as the configuration "
                                     "says (tie_word_embeddings), got other values")  # fmt: skip
        return names

    def shape_in(self, weights: Any, name: str, there: str) -> tuple[int, ...]:
        shape = weights.shape(there)
        return shape[::-1] if re.search(self.transposed, name) else shape


def put(target: Tensor, array: np.ndarray[Any, Any]) -> None:
    """Make `array` the value of a parameter, on the device where that was to be."""
    target.data = place(array, device_of(target.data))
    target.touch("from_pretrained")


def starting(name: str, target: Tensor, config: Config) -> np.ndarray[Any, Any]:
    """The first values of what no file has: normal matrices; biases, means, counts 0; scales and variances 1."""
    if target.ndim > 1:
        return default_generator.normal_array(target.shape, 0.0, config.initializer_range)
    zero = name.endswith(("bias", "running_mean", "num_batches_tracked"))
    return np.full(target.shape, 0.0 if zero else 1.0, np.float32)


def from_pretrained(folder: Path | str, *, dtype: Any = None, device: str | None = None) -> Any:
    """The model in a folder of Hugging Face's layout, of the class that its config.json names, in eval mode.

    folder: config.json, and model.safetensors or shards with model.safetensors.index.json. dtype: of its parameters,
    by default as in the file. device: where it goes, by default the default device. GPT-2, BERT (MaskedLM,
    SequenceClassification, the model alone), Llama, ViT and ResNet (image classification). ValueError names a class or
    a field of the configuration that is not supported, and tensors that do not fit; io.CheckpointError a damaged file.

    >>> model = weft.models.from_pretrained("gpt2")                                         # doctest: +SKIP
    >>> weft.generate(model, [[464, 2068]], max_new_tokens=20)                              # doctest: +SKIP
    """
    from weft.models import CLASSES

    folder = Path(folder)
    named = read_config(folder).get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"from_pretrained: expected architectures of {folder / CONFIG} out of {', '.join(CLASSES)}, "
                         f"got {named!r}")  # fmt: skip
    from weft import models

    model = getattr(models, name).from_pretrained(folder, dtype=dtype)
    return model if device is None or check_device(device) == default_device() else model.to(device)
