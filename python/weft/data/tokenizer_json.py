"""Hugging Face's tokenizer.json of tokenizers that are byte-pair encodings over UTF-8: GPT-2's, Llama 3's, Qwen's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from weft.data.bpe import LIMIT, BPETokenizer, NormalForm, Rules
from weft.io.header import HeaderError, read_object

# The expressions that cut text, as the files write them, and the names of bpe.CUTS.
CUTS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+": "llama3",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+": "qwen2",
}
PLAIN = {  # entries of "model" that must have one of these values, where they are there
    "type": ("BPE",), "dropout": (None, 0, 0.0), "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""), "byte_fallback": (None, False),
}  # fmt: skip


def read_tokenizer(path: Path) -> BPETokenizer:
    """The tokenizer in a file; ValueError names the file and what it has that BPETokenizer has not."""
    try:
        fields = read_object(path, LIMIT)
        return tokenizer_of(fields)
    except (HeaderError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def tokenizer_of(fields: dict[str, Any]) -> BPETokenizer:
    model = table(fields, "model")
    for name, wanted in PLAIN.items():
        if model.get(name, wanted[0]) not in wanted:
            raise ValueError(f"expected a byte-pair encoding with {name} {wanted[0]!r}, got {model[name]!r}")
    words = dict(table(model, "vocab"))
    special: list[str] = []
    always: list[str] = []
    for token in entries(fields, "added_tokens"):
        text, number = token.get("content"), token.get("id")
        if not isinstance(text, str) or not text or words.setdefault(text, number) != number:
            raise ValueError(f"expected added tokens with a text and a number of their own, got {text!r}, {number!r}")
        strips = [name for name in ("lstrip", "rstrip", "single_word") if token.get(name)]
        if strips:
            raise ValueError(f"expected added tokens that take nothing around them, got {strips[0]} of {text!r}")
        (special if token.get("special") else always).append(text)
    if table(fields, "decoder").get("type") != "ByteLevel":
        raise ValueError(f"expected a ByteLevel decoder, got {fields['decoder'].get('type')!r}")
    cut, prefix_space = cutting(table(fields, "pre_tokenizer"))
    form, whole = normal_form(fields.get("normalizer")), bool(model.get("ignore_merges"))
    rules = Rules(cut, prefix_space, form, whole, tuple(always))
    return BPETokenizer(words, merges(model.get("merges")), special, rules)


def table(fields: dict[str, Any], name: str) -> dict[str, Any]:
    found = fields.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"expected {name!r} as an object, got {type(found).__name__}")
    return found


def entries(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = fields.get(name) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"expected {name!r} as a list of objects")
    return found


def merges(pairs: Any) -> list[tuple[str, str]]:
    """Pairs, each written as two strings or as one with a space between."""
    made = []
    for pair in pairs if isinstance(pairs, list) else [None]:
        parts = pair.split(" ") if isinstance(pair, str) else pair
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
            raise ValueError(f"expected merges of two tokens each, got {pair!r}")
        made.append((parts[0], parts[1]))
    return made


def cutting(step: dict[str, Any]) -> tuple[str, bool]:
    """The name of the rule that cuts text, and whether a space comes before it."""
    steps = entries(step, "pretokenizers") if step.get("type") == "Sequence" else [step]
    kinds = [one.get("type") for one in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt2", bool(steps[0].get("add_prefix_space", True))
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        split, last = steps
        pattern = split.get("pattern")
        cut = CUTS.get(str(pattern.get("Regex"))) if isinstance(pattern, dict) else None
        if cut and split.get("behavior") == "Isolated" and not split.get("invert") and not last.get("add_prefix_space"):
            return cut, False
    raise ValueError(f"expected text cut as GPT-2, Llama 3 or Qwen 2 do, got a pre_tokenizer {str(step)[:200]}")


def normal_form(step: Any) -> NormalForm | None:
    if step is None or step == {"type": "Sequence", "normalizers": []}:
        return None
    kind = step.get("type") if isinstance(step, dict) else step
    for form in get_args(NormalForm):
        if kind == form:
            return form  # type: ignore[no-any-return]
    raise ValueError(f"expected a normalizer of {', '.join(get_args(NormalForm))} or none, got {kind!r}")
