"""Continued texts: one seed gives one text, the cache changes nothing, and texts end where they should."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs
from weft import models
from weft.models import sampling
from weft.random import Generator

rng = np.random.default_rng(8)


def wide(model):
    """The model with weights that tell its inputs apart."""
    for p in model.parameters():
        p.assign(rng.standard_normal(p.shape).astype("f") * (0.5 if p.ndim > 1 else 0.2) + (p.ndim == 1))
    return model.eval()


@pytest.fixture(scope="module")
def gpt2():
    config = models.GPT2Config(vocab_size=31, n_positions=40, n_embd=16, n_layer=2, n_head=2, eos_token_id=None)
    return wide(models.GPT2LMHeadModel(config))


@pytest.fixture(scope="module")
def llama():
    config = models.LlamaConfig(vocab_size=31, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                                num_attention_heads=4, num_key_value_heads=2, eos_token_id=None)  # fmt: skip
    return wide(models.LlamaForCausalLM(config))


@pytest.fixture(params=["gpt2", "llama"])
def model(request):
    return request.getfixturevalue(request.param)


def test_a_seed_gives_a_text(model):
    def text(seed, **options):
        options = {"temperature": 1.5, "top_k": 20, "top_p": 0.95} | options
        return weft.generate(model, [[1, 2, 3]] * 2, generator=Generator(seed), **options)

    first = text(0)
    assert first.shape == (2, 23) and first.dtype == np.int64 and (first[:, :3] == [1, 2, 3]).all()
    assert np.array_equal(text(0), first) and np.array_equal(text(0, use_cache=False), first)
    assert not np.array_equal(text(1), first) and not np.array_equal(first[0], first[1])
    weft.random.seed(5)
    again = weft.generate(model, [[1, 2]], temperature=1.5)
    weft.random.seed(5)
    assert np.array_equal(weft.generate(model, [[1, 2]], temperature=1.5), again)


def test_a_text_read_in_parts_gives_the_scores_of_the_whole(model):
    tokens = rng.integers(0, 31, (3, 12))
    with weft.no_grad():
        whole = model(tokens).numpy()
        cache = models.Cache()
        parts = [model(tokens[:, a:b], cache=cache).numpy() for a, b in ((0, 1), (1, 6), (6, 7), (7, 12))]
        assert cache.length == 12
        np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=2e-5)
        np.testing.assert_allclose(model(tokens, logits_to_keep=2).numpy(), whole[:, -2:], atol=2e-5)
        cache.select([2, 0])
        more = model(tokens[[2, 0], :1], cache=cache).numpy()
        longer = model(np.concatenate([tokens, tokens[:, :1]], 1)).numpy()
        np.testing.assert_allclose(more[:, 0], longer[[2, 0], -1], atol=2e-5)
        with pytest.raises(ValueError, match=r"expected float32 \(2, 2, T, \d\) as before, got float32 \(3, 2, 1, "):
            model(tokens[:, :1], cache=cache)
    with pytest.raises(RuntimeError, match="no_grad"):
        model(tokens, cache=models.Cache())


def test_padding_changes_nothing(model):
    tokens, mask = rng.integers(0, 31, (2, 6)), np.ones((2, 6), int)
    mask[1, :4] = 0
    out = weft.generate(model, tokens, attention_mask=mask, max_new_tokens=9)
    for row, first in ((0, 0), (1, 4)):
        alone = weft.generate(model, tokens[row : row + 1, first:], max_new_tokens=9)
        assert np.array_equal(out[row, first:], alone[0])
    beams = weft.generate(model, tokens, attention_mask=mask, max_new_tokens=9, num_beams=3)
    alone = weft.generate(model, tokens[1:, 4:], max_new_tokens=9, num_beams=3)
    assert np.array_equal(beams[1, 4:], alone[0])


def test_texts_end(model):
    free = weft.generate(model, [[1], [2], [3]], max_new_tokens=12)
    end = int(free[0, 4])
    out = weft.generate(model, [[1], [2], [3]], max_new_tokens=12, eos_token_id=end, pad_token_id=30)
    for line, whole in zip(out, free):
        at = np.flatnonzero(whole[1:] == end)
        stop = len(line) if not at.size else at[0] + 2
        assert np.array_equal(line[:stop], whole[:stop]) and (line[stop:] == 30).all()
    alone = weft.generate(model, [[1]], max_new_tokens=12, eos_token_id=[end, 99])
    assert alone.shape[1] <= 5 and alone[0, -1] == end  # it stops as soon as all texts have ended
    assert np.array_equal(weft.generate(model, [[1, 2]], max_new_tokens=0), [[1, 2]])
    assert np.array_equal(weft.generate(model, [[1, 2]], max_new_tokens=0, num_beams=2), [[1, 2]])


def log_probability(model, text, start):
    logs = sampling.log_softmax(model(text[None, :-1]).numpy()[0].astype("d"))
    return sum(logs[i, text[i + 1]] for i in range(start - 1, len(text) - 1))


def test_wide_beams_find_the_best_text(model):
    """With as many beams as there are texts of two tokens, the search is exhaustive for three."""
    best = weft.generate(model, [[4, 7]], max_new_tokens=3, num_beams=31 * 31)
    greedy = weft.generate(model, [[4, 7]], max_new_tokens=3)
    with weft.no_grad():
        found, simple = log_probability(model, best[0], 2), log_probability(model, greedy[0], 2)
        tokens = rng.integers(0, 31, (300, 3))
        others = [log_probability(model, np.array([4, 7, *t]), 2) for t in tokens[:40]]
    assert found >= simple and found >= max(others)


def test_shares():
    scores = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 5.0, 0.0]])
    plain = sampling.token_shares(scores, 1.0)
    np.testing.assert_allclose(plain.sum(1), 1)
    assert (sampling.token_shares(scores, 0.01).argmax(1) == [0, 2]).all()
    assert ((sampling.token_shares(scores, 1.0, top_k=2) > 0) == [[1, 1, 0, 0], [1, 1, 1, 1]]).all()  # equals stay
    assert ((sampling.token_shares(scores, 1.0, top_p=0.65) > 0) == [[1, 1, 0, 0], [0, 0, 1, 0]]).all()
    assert ((sampling.token_shares(scores, 1.0, top_p=1e-9) > 0).sum(1) == 1).all()


def test_draws_follow_the_shares():
    shares = np.array([[0.5, 0.0, 0.3, 0.2, 0.0]])
    drawn = np.concatenate([sampling.draw(np.repeat(shares, 500, 0), Generator(k)) for k in range(40)])
    counts = np.bincount(drawn, minlength=5)
    assert counts[[1, 4]].sum() == 0
    expected = 20_000 * shares[0, [0, 2, 3]]
    assert ((counts[[0, 2, 3]] - expected) ** 2 / expected).sum() < 20  # chi-square with two degrees: p = 5e-5


@pytest.mark.parametrize(
    "options, message",
    [({"temperature": -1.0}, "temperature"), ({"temperature": float("nan")}, "temperature"),
     ({"top_k": 0, "temperature": 1.0}, "top_k"), ({"top_p": 0.0, "temperature": 1.0}, "top_p"),
     ({"top_k": 5}, "temperature above 0"), ({"num_beams": 0}, "num_beams"), ({"max_new_tokens": -1}, "max_new_tokens"),
     ({"num_beams": 2, "temperature": 1.0}, "either beams"), ({"attention_mask": [[1, 1, 0]]}, "on the left"),
     ({"attention_mask": [[1, 1]]}, "attention_mask"), ({"attention_mask": [[0, 2, 1]]}, "0 and 1")],
)  # fmt: skip
def test_arguments_that_do_not_fit(gpt2, options, message):
    with pytest.raises(ValueError, match=message):
        weft.generate(gpt2, [[1, 2, 3]], **options)


@pytest.mark.parametrize(
    "tokens", [[1, 2], [[]], [[1.5]], np.zeros((0, 3), int)], ids=["flat", "none", "floats", "empty"]
)
def test_tokens_that_do_not_fit(gpt2, tokens):
    with pytest.raises(ValueError, match=r"tokens \(B, T\)"):
        weft.generate(gpt2, tokens)


def test_more_than_the_model_can_read(gpt2):
    with pytest.raises(ValueError, match="positions below 40, got 40"):
        weft.generate(gpt2, [[1] * 38], max_new_tokens=5)


def test_the_mode_of_the_model_comes_back(gpt2):
    gpt2.train()
    weft.generate(gpt2, [[1]], max_new_tokens=2)
    assert gpt2.training and gpt2.transformer.drop.training
    gpt2.transformer.drop.eval()  # frozen while the rest trains
    weft.generate(gpt2, [[1]], max_new_tokens=2)
    assert gpt2.training and not gpt2.transformer.drop.training
    gpt2.eval()


@pytest.mark.slow
@pytest.mark.gpu
@needs("emulator")
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_texts_on_a_device(name, request, device):
    model = request.getfixturevalue(name)
    tokens, mask = np.array([[3, 1, 4], [1, 5, 9]]), np.array([[1, 1, 1], [0, 1, 1]])
    options = {"attention_mask": mask, "max_new_tokens": 4}
    here, beams = weft.generate(model, tokens, **options), weft.generate(model, tokens, num_beams=2, **options)
    try:
        model.to(device)
        assert np.array_equal(weft.generate(model, tokens, **options), here)
        assert np.array_equal(weft.generate(model, tokens, num_beams=2, **options), beams)
    finally:
        model.to("cpu")
