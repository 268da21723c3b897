"""Texts continued by a language model: the likeliest token, a drawn one, or the likeliest whole text of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from weft.autograd import no_grad
from weft.models.parts import Cache
from weft.random import Generator, default_generator

Array = np.ndarray[Any, Any]
FROM_CONFIG = "config"


def generate(
    model: Any,
    input_ids: Any,
    *,
    max_new_tokens: int = 20,
    attention_mask: Any = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool = False,
    eos_token_id: int | Sequence[int] | str | None = FROM_CONFIG,
    pad_token_id: int | None = None,
    generator: Generator | None = None,
    use_cache: bool = True,
) -> Array:
    """Texts (B, T) and what the model writes after them, int64 (B, T + n), n at most `max_new_tokens`.

    model: GPT-2, Llama, or any that is called as they are. input_ids: tokens, texts of different lengths padded on the
    left; attention_mask: (B, T) of 1 and 0 (padding). temperature 0 takes the likeliest token; above, tokens are drawn
    from softmax(scores / temperature), out of the top_k likeliest and of the fewest whose shares reach top_p.
    num_beams: beam search for the text of the largest log-probability / n**length_penalty; early_stopping ends it as
    soon as num_beams texts have ended. eos_token_id: where a text ends, one or several, by default the configuration's;
    None for never. What follows an end is pad_token_id, by default the configuration's, else the end itself. generator:
    a weft.random.Generator, by default the one that weft.random.seed sets; one seed gives one text. use_cache: keys and
    values of read tokens are kept. ValueError where arguments do not fit. Holtzman et al., "The
    curious case of neural text degeneration" (2019), for top_p; Fan et al. (2018) for top_k.

    >>> weft.generate(model, [[464, 2068]], temperature=0.8, top_k=50)                      # doctest: +SKIP
    """
    tokens = np.array(input_ids.numpy() if hasattr(input_ids, "numpy") else input_ids)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or not tokens.size:
        raise ValueError(f"generate: expected tokens (B, T), T at least 1, got {tokens.dtype} {tokens.shape}")
    check_arguments(max_new_tokens, temperature, top_k, top_p, num_beams)
    if num_beams > 1 and (temperature or top_k is not None or top_p is not None):
        raise ValueError(
            "generate: expected either beams or drawn tokens, got num_beams with temperature, top_k, top_p"
        )
    config = getattr(model, "config", None)
    ends = getattr(config, "eos_token_id", None) if eos_token_id == FROM_CONFIG else eos_token_id
    end_ids = np.atleast_1d(np.array([] if ends is None else ends, np.int64))
    pad = getattr(config, "pad_token_id", None) if pad_token_id is None else pad_token_id
    pad = (int(end_ids[0]) if end_ids.size else 0) if pad is None else pad
    reader = Reader(model, tokens.astype(np.int64), attention_mask, use_cache)
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with no_grad():
            if num_beams > 1:
                beams = Beams(num_beams, max_new_tokens, length_penalty, early_stopping, end_ids)
                return beam_search(reader, beams, pad)
            source = generator or default_generator
            return one_by_one(reader, max_new_tokens, (temperature, top_k, top_p), end_ids, pad, source)
    finally:
        for m, mode in modes:
            m.training = mode


def check_arguments(
    max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None, beams: int
) -> None:
    for name, value, least in (("max_new_tokens", max_new_tokens, 0), ("num_beams", beams, 1), ("top_k", top_k, 1)):
        if value is not None and (type(value) is not int or value < least):
            raise ValueError(f"generate: expected {name} to be an integer of at least {least}, got {value!r}")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"generate: expected a temperature of at least 0, got {temperature}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"generate: expected top_p in (0, 1], got {top_p}")
    if temperature == 0 and (top_k is not None or top_p is not None):
        raise ValueError("generate: expected a temperature above 0 with top_k or top_p, got 0, which draws nothing")


class Reader:
    """A model that reads texts further and gives the scores of the token that comes next."""

    def __init__(self, model: Any, tokens: Array, attention_mask: Any, use_cache: bool):
        self.model, self.tokens = model, tokens
        self.cache = Cache() if use_cache else None
        self.mask: Array | None = None
        if attention_mask is not None:
            mask = np.array(attention_mask.numpy() if hasattr(attention_mask, "numpy") else attention_mask)
            if mask.shape != tokens.shape or not np.isin(mask, (0, 1)).all():
                raise ValueError(f"generate: expected an attention_mask of 0 and 1, {tokens.shape}, got {mask.shape}")
            if not (np.diff(mask.astype(int)) >= 0).all() or not mask[:, -1].all():
                raise ValueError("generate: expected padding on the left, got an attention_mask with 0 after 1")
            self.mask = None if mask.all() else mask.astype(np.int64)

    def read(self) -> Array:
        """Scores (B, vocabulary), float64, of the token that follows the texts as they are."""
        seen = self.cache.length if self.cache is not None else 0
        at = None if self.mask is None else np.maximum(self.mask.cumsum(1) - 1, 0)[:, seen:]
        scores = self.model(
            self.tokens[:, seen:], attention_mask=self.mask, position_ids=at, cache=self.cache, logits_to_keep=1
        )  # fmt: skip
        return scores.numpy()[:, -1].astype(np.float64)

    def add(self, tokens: Array) -> None:
        """Write one token (B,) behind each text."""
        self.tokens = np.concatenate([self.tokens, tokens[:, None]], axis=1)
        if self.mask is not None:
            self.mask = np.concatenate([self.mask, np.ones((len(tokens), 1), np.int64)], axis=1)

    def select(self, rows: Array) -> None:
        """Go on with these rows, of which one may come more than once."""
        self.tokens = self.tokens[rows]
        self.mask = None if self.mask is None else self.mask[rows]
        if self.cache is not None:
            self.cache.select(rows)


def one_by_one(
    reader: Reader, steps: int, how: tuple[float, int | None, float | None], ends: Array, pad: int, source: Generator
) -> Array:  # fmt: skip
    """The likeliest or a drawn token after the other, until every text has ended."""
    temperature, top_k, top_p = how
    ended = np.zeros(len(reader.tokens), bool)
    for _ in range(steps):
        scores = reader.read()
        if temperature == 0:
            chosen = scores.argmax(1)
        else:
            chosen = draw(token_shares(scores, temperature, top_k, top_p), source)
        chosen = np.where(ended, pad, chosen)
        reader.add(chosen)
        ended |= np.isin(chosen, ends)
        if ended.all():
            break
    return reader.tokens


def token_shares(
    scores: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """The probabilities with which tokens are drawn.  scores (B, V) -> (B, V), each row sums to 1

    Those of softmax(scores / temperature); 0 for what is not among the top_k largest (equals of the last one stay), and
    then for what the larger ones before it, which reach a share of top_p, make needless.
    """
    scores = scores / temperature
    if top_k is not None and top_k < scores.shape[1]:
        least = np.partition(scores, -top_k, axis=1)[:, -top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    if top_p is not None and top_p < 1:
        order = np.argsort(-shares, axis=1, kind="stable")
        ordered = np.take_along_axis(shares, order, 1)
        needed = ordered.cumsum(1) - ordered < top_p  # the likeliest always is
        keep = np.zeros(shares.shape, bool)
        np.put_along_axis(keep, order, needed, 1)
        shares = np.where(keep, shares, 0)
        shares /= shares.sum(1, keepdims=True)
    return shares


def draw(shares: Array, source: Generator) -> Array:
    """A token of each row, (B,), drawn with these probabilities; one uniform number each."""
    numbers = source.uniform_array(len(shares), dtype=np.float64)
    sums = shares.cumsum(1)
    chosen = [np.searchsorted(s, u * s[-1], side="right") for s, u in zip(sums, numbers)]
    last = shares.shape[1] - 1 - (shares[:, ::-1] > 0).argmax(1)  # rounding never gives a token of share 0
    return np.minimum(np.array(chosen, np.int64), last)


@dataclasses.dataclass
class Beams:
    """The rules of a beam search."""

    count: int
    steps: int
    length_penalty: float
    early_stopping: bool
    ends: Array


@dataclasses.dataclass
class Found:
    """The texts of one row that have ended: (score, tokens), the best first."""

    texts: list[tuple[float, Array]] = dataclasses.field(default_factory=list)
    closed: bool = False

    def add(self, score: float, tokens: Array, count: int) -> None:
        self.texts = sorted([*self.texts, (score, tokens)], key=lambda text: -text[0])[:count]


def beam_search(reader: Reader, beams: Beams, pad: int) -> Array:
    """The best text of each row.

    In every step each text is continued by every token, and the likeliest texts that have not ended go on. One that
    ends competes with those that ended before, by its log-probability over length**length_penalty, if it is among the
    `count` likeliest. A row is done when `count` texts have ended and no running one is better at its present length.
    """
    B, K = len(reader.tokens), beams.count
    start = reader.tokens.shape[1]
    if not beams.steps:
        return reader.tokens
    found = [Found() for _ in range(B)]
    totals = np.zeros((B, 1))
    for step in range(1, beams.steps + 1):
        rows, width = totals.shape
        step_logs = log_softmax(reader.read()).reshape(rows, width, -1)
        V = step_logs.shape[2]
        logs = (totals[:, :, None] + step_logs).reshape(rows, -1)
        candidates = best(logs, max(2, 1 + beams.ends.size) * K)
        parents, words = candidates // V, candidates % V
        likely = np.take_along_axis(logs, candidates, 1)
        chosen, totals = np.zeros((B, K), np.int64), np.full((B, K), -np.inf)
        for row in range(B):
            ended = np.isin(words[row], beams.ends) | (step == beams.steps)
            if not found[row].closed:
                for rank in np.flatnonzero(ended[:K]):
                    text = np.append(reader.tokens[row * width + parents[row, rank], start:], words[row, rank])
                    found[row].add(likely[row, rank] / step**beams.length_penalty, text, K)
            going = np.flatnonzero(~ended)[:K]
            chosen[row, : len(going)] = going
            totals[row, : len(going)] = likely[row, going]
            close(found[row], totals[row, 0] / step**beams.length_penalty, beams)
        if all(row.closed for row in found) or step == beams.steps:
            break
        reader.select((np.arange(B)[:, None] * width + np.take_along_axis(parents, chosen, 1)).reshape(-1))
        reader.add(np.take_along_axis(words, chosen, 1).reshape(-1))
    prompts = reader.tokens[:: len(reader.tokens) // B, :start]
    texts = [row.texts[0][1] for row in found]
    out = np.full((B, start + max(len(text) for text in texts)), pad, np.int64)
    out[:, :start] = prompts
    for line, text in zip(out, texts):
        line[start : start + len(text)] = text
    return out


def close(found: Found, running: float, beams: Beams) -> None:
    """A row is done once as many texts have ended as there are beams, and none that is running is better than all."""
    if len(found.texts) == beams.count:
        found.closed = found.closed or beams.early_stopping or running <= found.texts[-1][0]


def log_softmax(scores: Array) -> Array:
    scores = scores - scores.max(1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def best(values: Array, count: int) -> Array:
    """Where the `count` largest values of each row are, the largest first."""
    count = min(count, values.shape[1])
    rough = np.argpartition(-values, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(values, rough, 1), axis=1, kind="stable")
    return np.take_along_axis(rough, order, 1)
