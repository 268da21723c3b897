"""Configurations as config.json has them: every field is understood, known to change nothing, or refused by name."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from weft.io.header import HeaderError, read_object

CONFIG = "config.json"
LIMIT = 10_000_000  # bytes of a config.json, of which label names may be many

# What says nothing about the numbers that a forward pass gives.
HARMLESS = frozenset({
    "_name_or_path", "architectures", "bos_token_id", "chunk_size_feed_forward", "dtype", "finetuning_task",
    "gradient_checkpointing", "id2label", "initializer_range", "keys_to_ignore_at_inference", "label2id", "model_type",
    "output_attentions", "output_hidden_states", "problem_type", "return_dict", "sep_token_id", "task_specific_params",
    "tokenizer_class", "torch_dtype", "transformers_version", "use_cache", "use_return_dict",
})  # fmt: skip
FIXED: dict[str, Any] = {
    "add_cross_attention": False, "cross_attention_hidden_size": None, "is_decoder": False,
    "is_encoder_decoder": False, "pruned_heads": {}, "tie_encoder_decoder": False,
}  # fmt: skip


@dataclasses.dataclass(kw_only=True)
class Config:
    """What the fields of a config.json have in common; a model adds its own, with the defaults that the format has."""

    model_type: ClassVar[str] = ""
    harmless: ClassVar[frozenset[str]] = frozenset()
    fixed: ClassVar[dict[str, Any]] = {}

    eos_token_id: int | list | None = None
    pad_token_id: int | None = None
    initializer_range: float = 0.02
    num_labels: int = 2
    other: dict = dataclasses.field(default_factory=dict)  # the harmless fields, which are kept for writing

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The configuration that the fields of a config.json describe.

        ValueError names a field that is unknown, of the wrong type, or has a value that the model does not support.
        """
        hints, fixed = typing.get_type_hints(cls), {**FIXED, **cls.fixed}
        own = {field.name for field in dataclasses.fields(cls)} - {"other"}
        values: dict[str, Any] = {}
        other: dict[str, Any] = {}
        for name, value in cls.upgraded(fields).items():
            if name in own:
                values[name] = checked(cls.model_type, name, value, hints[name])
            elif name in fixed:
                if value != fixed[name]:
                    raise ValueError(f"{cls.model_type}: expected {name} {fixed[name]!r} in {CONFIG}, got {value!r}, "
                                     "which is not supported")  # fmt: skip
            elif name in HARMLESS | cls.harmless:
                other[name] = value
            else:
                raise ValueError(f"{cls.model_type}: expected fields that are known in {CONFIG}, got {name!r}: "
                                 f"{str(value)[:60]}, whose meaning is not supported")  # fmt: skip
        labels = other.get("id2label")
        if labels is not None and "num_labels" not in values:
            if not isinstance(labels, dict) or not labels:
                raise ValueError(f"{cls.model_type}: expected id2label to be an object of labels, got {labels!r}")
            values["num_labels"] = len(labels)
        made = cls(**values)
        made.other = other
        return made

    @classmethod
    def upgraded(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields under the names of today."""
        return fields

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raise ValueError where fields do not fit each other."""

    def layers(self) -> int:
        """How many layers the model has, each with at least one tensor in its file."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The fields as `from_dict` takes them."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("other", "num_labels")}
        if len(self.other.get("id2label") or "12") != self.num_labels:  # two labels are what no labels mean
            names = {str(i): f"LABEL_{i}" for i in range(self.num_labels)}
            own |= {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}
        fixed = {name: value for name, value in self.fixed.items() if value is not None}
        return {**self.other, **fixed, **own, "model_type": self.model_type}

    def need(self, holds: bool, words: str) -> None:
        if not holds:
            raise ValueError(f"{self.model_type}: expected {words}")


def checked(model: str, name: str, value: Any, hint: Any) -> Any:
    """`value`, if its type is one that the annotation has; integers are sizes, floats shares and small numbers."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    fits = type(value) in kinds or (float in kinds and type(value) is int) or (value is None and type(None) in kinds)
    if not fits:
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"{model}: expected {name} in {CONFIG} to be {names}, got {value!r}")
    if int in kinds and type(value) is int and not name.endswith("_token_id") and not 1 <= value < 2**31:
        raise ValueError(f"{model}: expected {name} in {CONFIG} to be positive, got {value}")
    if type(value) is float and not 0 <= value < math.inf:
        raise ValueError(f"{model}: expected {name} in {CONFIG} to be finite and not negative, got {value}")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """The fields of a folder's config.json; ValueError if it is none, FileNotFoundError if there is none."""
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"from_pretrained: expected {CONFIG} in {folder}, got none")
    try:
        return read_object(folder / CONFIG, LIMIT)
    except HeaderError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None


# ---- activations, by the names that configurations use

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("gelu", {}),
    "gelu_python": ("gelu", {}),
    "gelu_new": ("gelu", {"approximate": "tanh"}),
    "gelu_fast": ("gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("gelu", {"approximate": "tanh"}),
    "gelu_python_tanh": ("gelu", {"approximate": "tanh"}),
    "relu": ("relu", {}),
    "relu6": ("relu6", {}),
    "leaky_relu": ("leaky_relu", {}),
    "silu": ("silu", {}),
    "swish": ("silu", {}),
    "mish": ("mish", {}),
    "hardswish": ("hardswish", {}),
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
}


def activation(name: str, functional: Any) -> Callable[[Any], Any]:
    """The function of that name, out of a framework's `nn.functional`; ValueError names those that are known."""
    if name == "quick_gelu":
        return lambda x: x * functional.sigmoid(1.702 * x)
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join([*ACTIVATIONS, 'quick_gelu'])}, got {name!r}")
    attribute, options = ACTIVATIONS[name]
    function = getattr(functional, attribute)
    return (lambda x: function(x, **options)) if options else function
