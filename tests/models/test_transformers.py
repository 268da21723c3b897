"""Models from files beside transformers' own: scores, gradients, and the tokens that each writes."""

from __future__ import annotations

import json
import runpy
import shlex
import sys

import numpy as np
import pytest

import weft
from policy import needs
from weft import models

pytestmark = [needs("torch"), needs("transformers")]

GPT2 = {"vocab_size": 97, "n_positions": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "eos_token_id": 0,
        "bos_token_id": 0}  # fmt: skip
BERT = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 40}  # fmt: skip
LLAMA = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "max_position_embeddings": 64}  # fmt: skip
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
       "image_size": 24, "patch_size": 8, "num_labels": 5}  # fmt: skip
RESNET = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 1], "num_labels": 5}


def rope(kind, **fields):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **fields}}


CASES = {
    "gpt2": ("GPT2LMHeadModel", GPT2),
    "gpt2-scaled": ("GPT2LMHeadModel", {**GPT2, "scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False,
                                        "n_inner": 56, "activation_function": "relu"}),
    "gpt2-untied": ("GPT2LMHeadModel", {**GPT2, "tie_word_embeddings": False, "layer_norm_epsilon": 0.1,
                                        "n_head": 2, "activation_function": "gelu", "reorder_and_upcast_attn": True}),
    "bert": ("BertForMaskedLM", BERT),
    "bert-silu": ("BertForMaskedLM", {**BERT, "hidden_act": "silu", "num_attention_heads": 2, "type_vocab_size": 3,
                                      "layer_norm_eps": 0.1, "pad_token_id": 3}),
    "bert-quick": ("BertForMaskedLM", {**BERT, "hidden_act": "quick_gelu", "num_hidden_layers": 1}),
    "bert-labels": ("BertForSequenceClassification", {**BERT, "num_labels": 5}),
    "bert-two-labels": ("BertForSequenceClassification", {**BERT, "hidden_act": "gelu_new", "pad_token_id": None}),
    "bert-relu-labels": ("BertForSequenceClassification", {**BERT, "hidden_act": "relu", "num_labels": 1}),
    "bert-pooled": ("BertModel", {**BERT, "hidden_act": "gelu_pytorch_tanh"}),
    "llama": ("LlamaForCausalLM", {**LLAMA, "num_key_value_heads": 2}),
    "llama-tied": ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
                                        "head_dim": 16, "pad_token_id": 5, **rope("default")}),
    "llama-one-key": ("LlamaForCausalLM", {**LLAMA, "num_key_value_heads": 1, "hidden_act": "gelu",
                                           "rms_norm_eps": 0.1, **rope("linear", factor=3.0)}),
    "llama3": ("LlamaForCausalLM", {**LLAMA, **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                    original_max_position_embeddings=16)}),
    "llama-yarn": ("LlamaForCausalLM", {**LLAMA, **rope("yarn", factor=4.0, original_max_position_embeddings=16)}),
    "llama-yarn-options": ("LlamaForCausalLM", {**LLAMA, **rope(
        "yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=4, beta_slow=2, mscale=0.7,
        mscale_all_dim=1.1, truncate=False)}),
    "llama-dynamic": ("LlamaForCausalLM", {**LLAMA, "max_position_embeddings": 8, **rope("dynamic", factor=4.0)}),
    "llama-longrope": ("LlamaForCausalLM", {**LLAMA, **rope(
        "longrope", short_factor=[1.0, 1.5, 2.0, 3.0], long_factor=[1.0, 2.0, 4.0, 8.0], factor=4.0,
        original_max_position_embeddings=8)}),
    "llama-longrope-short": ("LlamaForCausalLM", {**LLAMA, **rope(
        "longrope", short_factor=[1.0, 1.5, 2.0, 3.0], long_factor=[1.0, 2.0, 4.0, 8.0], attention_factor=1.3,
        original_max_position_embeddings=32)}),
    "vit": ("ViTForImageClassification", VIT),
    "vit-wide": ("ViTForImageClassification", {**VIT, "image_size": [16, 24], "patch_size": [8, 4], "qkv_bias": False,
                                               "num_channels": 1, "hidden_act": "gelu_new"}),
    "vit-one-head": ("ViTForImageClassification", {**VIT, "num_attention_heads": 1, "num_labels": 2,
                                                   "layer_norm_eps": 0.1, "hidden_act": "relu"}),
    "resnet": ("ResNetForImageClassification", RESNET),
    "resnet-basic": ("ResNetForImageClassification", {**RESNET, "layer_type": "basic", "num_channels": 1,
                                                      "hidden_act": "silu"}),
    "resnet-down": ("ResNetForImageClassification", {**RESNET, "downsample_in_first_stage": True, "depths": [1, 2],
                                                     "downsample_in_bottleneck": True, "hidden_act": "gelu"}),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """A second thread of PyTorch's only waits, on models of this size; progress bars say nothing here."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def theirs(case, seed=0):
    """A random model of theirs, whose norms and biases have left the values that they start from."""
    import torch
    import transformers

    kind, fields = CASES[case]
    torch.manual_seed(seed)
    cls = getattr(transformers, kind)
    model = cls(cls.config_class(**fields)).eval()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "inv_freq" in name or tensor.dtype != torch.float32:
                continue
            if "running" in name or tensor.ndim == 1:
                tensor += 0.3 * torch.rand_like(tensor) if "var" in name else 0.3 * torch.randn_like(tensor)
            elif "ResNet" not in kind:
                tensor *= 5  # from 0.02, with which attention is nearly even
    return model


def batch(case, model):
    """Arguments: tokens padded on the right with their mask, or images; the same whatever ran before."""
    fields, rng = model.config, np.random.default_rng(11)
    if "GPT2" in CASES[case][0] or "Llama" in CASES[case][0] or "Bert" in CASES[case][0]:
        inputs = {"input_ids": rng.integers(6, 97, (3, 13)), "attention_mask": np.ones((3, 13), np.int64)}
        inputs["attention_mask"][1, 9:] = 0
        inputs["attention_mask"][2, 4:] = 0
        if "Bert" in CASES[case][0]:
            inputs["input_ids"][0, 2] = fields.pad_token_id or 0
            inputs["token_type_ids"] = rng.integers(0, fields.type_vocab_size, (3, 13))
        if fields.pad_token_id is not None:
            inputs["input_ids"][inputs["attention_mask"] == 0] = fields.pad_token_id
        return inputs
    size = fields.image_size if "ViT" in CASES[case][0] else (33, 40)
    size = (size, size) if isinstance(size, int) else tuple(size)
    return {"pixel_values": rng.standard_normal((2, fields.num_channels, *size)).astype("f")}


def of_torch(inputs):
    import torch

    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def scores(out):
    """The arrays of an output, ours or theirs, as a tuple."""
    if isinstance(out, weft.Tensor):
        return (out,)
    return out if isinstance(out, tuple) else (out.logits,) if "logits" in out else tuple(out.to_tuple())


def near(ours, reference, tolerance, what, where=None):
    """Within `tolerance` of the largest element."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert ours.shape == reference.shape, what
    if where is not None:
        ours, reference = ours[where], reference[where]
    error, largest = np.abs(ours - reference).max(), np.abs(reference).max()
    assert error <= tolerance * largest, f"{what}: differs by {error:.2e}, the largest element is {largest:.2e}"


def weight_of(k, out, inputs):
    """What an output is multiplied with before it is summed: random, 0 at padding."""
    weights = np.random.default_rng(k).standard_normal(out.shape).astype("f")
    if len(out.shape) == 3:
        weights *= inputs["attention_mask"][..., None]
    return weights


@pytest.mark.parametrize("case", CASES)
def test_scores_and_gradients(case, tmp_path):
    compare(case, tmp_path, False)


def test_scores_and_gradients_of_training(tmp_path):
    """The batch's own statistics in the norms, whose running ones move alike."""
    reference, model = compare("resnet", tmp_path, True)
    buffers = dict(model.named_buffers())
    for name, b in reference.named_buffers():
        near(buffers[name].numpy(), b.numpy(), 1e-5, name)


def compare(case, tmp_path, training):
    """Scores and every gradient of one batch; returns both models."""
    import torch

    reference = theirs(case)
    reference.save_pretrained(tmp_path)
    model = models.from_pretrained(tmp_path)
    assert type(model).__name__ == CASES[case][0] and not model.training
    model.train(training), reference.train(training)
    inputs = batch(case, reference)
    images = "pixel_values" in inputs
    ours = scores(model(**{k: weft.asarray(v) if images else v for k, v in inputs.items()}))
    want = scores(reference(**of_torch(inputs)))
    assert len(ours) == len(want)
    total, their_total = 0, 0
    for k, (a, b) in enumerate(zip(ours, want)):
        weights = weight_of(k, b, inputs)
        near(a.numpy(), b.detach().numpy(), 1e-4, "scores", weights != 0)
        total = total + (a * weft.asarray(weights)).sum()
        their_total = their_total + (b * torch.from_numpy(weights)).sum()
    total.backward()
    their_total.backward()

    # Their gradients under the names of files: a model whose parameters are its gradients, saved.
    with torch.no_grad():
        for p in reference.parameters():
            p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
    reference.save_pretrained(tmp_path / "gradients")
    gradients = type(model).from_pretrained(tmp_path / "gradients")
    largest = max(float(np.abs(p.numpy()).max()) for p in gradients.parameters())
    for (name, p), (_, g) in zip(model.named_parameters(), gradients.named_parameters()):
        assert np.abs(p.grad.numpy() - g.numpy()).max() <= 1e-3 * max(np.abs(g.numpy()).max(), 1e-3 * largest), name
    return reference, model


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in CASES
        if c
        in (
            "gpt2",
            "gpt2-untied",
            "bert",
            "bert-labels",
            "bert-pooled",
            "llama",
            "llama-tied",
            "llama-yarn",
            "vit",
            "resnet",
        )
    ],
)
def test_what_is_saved_they_load(case, tmp_path):  # fmt: skip
    reference = theirs(case, seed=4)
    reference.save_pretrained(tmp_path / "theirs")
    models.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    back, info = type(reference).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    inputs = of_torch(batch(case, reference))
    for a, b in zip(scores(back.eval()(**inputs)), scores(reference(**inputs))):
        assert (a == b).all()
    there, here = (json.loads((tmp_path / who / "config.json").read_text()) for who in ("theirs", "ours"))
    assert {k: v for k, v in there.items() if k in here and here[k] != v} == {}
    again = models.from_pretrained(tmp_path / "ours")
    for name, array in models.from_pretrained(tmp_path / "theirs").state_dict().items():
        assert np.array_equal(again.state_dict()[name], array)


def test_shards_go_both_ways(tmp_path):
    reference = theirs("llama", seed=2)
    reference.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    model = models.from_pretrained(tmp_path / "theirs")
    model.save_pretrained(tmp_path / "ours", shard_bytes=30_000)
    back = type(reference).from_pretrained(tmp_path / "ours")
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 1
    for (name, a), (_, b) in zip(back.named_parameters(), reference.named_parameters()):
        assert (a == b).all(), name


def test_half_precision_files_stay_as_they_are(tmp_path):
    import torch

    reference = theirs("llama").to(torch.bfloat16)
    reference.save_pretrained(tmp_path)
    model = models.from_pretrained(tmp_path)
    assert {p.dtype for p in model.parameters()} == {weft.bfloat16}
    wide = models.from_pretrained(tmp_path, dtype=weft.float32)
    assert {p.dtype for p in wide.parameters()} == {np.dtype("f")}
    inputs = batch("llama", reference)
    want = reference(**of_torch(inputs)).logits.float().detach().numpy()
    inside = inputs["attention_mask"] == 1
    near(model(**inputs).numpy().astype("f"), want, 0.05, "bfloat16", inside)
    reference = type(reference).from_pretrained(tmp_path, dtype=torch.float32)
    near(wide(**inputs).numpy(), reference(**of_torch(inputs)).logits.detach().numpy(), 1e-4, "wide", inside)


# ---- generation


def prompts():
    """Texts of three lengths, padded on the left."""
    rng = np.random.default_rng(12)
    tokens, mask = rng.integers(6, 97, (3, 7)), np.ones((3, 7), np.int64)
    mask[1, :3] = 0
    mask[2, :5] = 0
    tokens[mask == 0] = 1
    return tokens, mask


WRITERS = [case for case in CASES if case.startswith(("gpt2", "llama"))]


@pytest.mark.parametrize("case", WRITERS)
def test_greedy_texts_are_theirs_token_for_token(case, tmp_path):
    reference = theirs(case, seed=7)
    reference.save_pretrained(tmp_path)
    model = models.from_pretrained(tmp_path)
    tokens, mask = prompts()
    steps = {"max_new_tokens": 24, "eos_token_id": None, "pad_token_id": 1}
    for k in (1, 3):
        inputs = of_torch({"input_ids": tokens[:k], "attention_mask": mask[:k]})
        want = reference.generate(**inputs, **steps, do_sample=False).numpy()
        got = weft.generate(model, tokens[:k], attention_mask=mask[:k], **steps)
        assert want.shape == (k, 31) and np.array_equal(got, want)
    if case not in ("llama-dynamic", "llama-longrope"):  # whose keys depend on how much was read at once
        assert np.array_equal(weft.generate(model, tokens, attention_mask=mask, use_cache=False, **steps), got)


@pytest.mark.parametrize("case", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3},
        {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "eos": 10},
        {"num_beams": 2, "length_penalty": -1.0},
        {"num_beams": 5, "eos": 5},
    ],
)
def test_beams_are_theirs(case, options, tmp_path):
    reference = theirs(case, seed=9)
    reference.save_pretrained(tmp_path)
    model = models.from_pretrained(tmp_path)
    tokens, mask = prompts()
    options = dict(options)
    ends = list(range(97 - options.pop("eos", 4), 97))
    steps = {"max_new_tokens": 12, "eos_token_id": ends, "pad_token_id": 1, **options}
    want = reference.generate(**of_torch({"input_ids": tokens, "attention_mask": mask}), **steps, do_sample=False)
    got = weft.generate(model, tokens, attention_mask=mask, **steps)
    assert np.array_equal(got, want.numpy())


@pytest.mark.parametrize(
    "options", [(0.7, None, None), (1.3, 5, None), (1.0, None, 0.8), (0.9, 20, 0.5), (1.0, 97, 1.0)]
)
def test_shares_of_tokens_are_theirs(options):
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    temperature, top_k, top_p = options
    scores = np.random.default_rng(13).standard_normal((4, 97)) * 3
    want = TemperatureLogitsWarper(temperature)(None, torch.from_numpy(scores))
    want = want if top_k is None else TopKLogitsWarper(top_k)(None, want)
    want = want if top_p is None else TopPLogitsWarper(top_p)(None, want)
    np.testing.assert_allclose(
        models.sampling.token_shares(scores, temperature, top_k, top_p), want.softmax(-1).numpy(), atol=1e-12
    )


def test_a_pytorch_file_is_converted_by_its_line(tmp_path, monkeypatch):
    import torch

    shared = torch.randn(3, 4)
    torch.save({"a": shared, "b": shared.T, "c": shared[1], "half": shared.bfloat16()}, tmp_path / "m.bin")
    with pytest.raises(weft.io.CheckpointError) as caught:
        weft.load(tmp_path / "m.bin")
    _, program, *names = shlex.split(str(caught.value).partition("; convert it once: python ")[2])
    (tmp_path / "line.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["-c", *names])
    runpy.run_path(str(tmp_path / "line.py"))
    state = weft.load(tmp_path / "m.safetensors")
    assert np.array_equal(state["b"], shared.numpy().T) and np.array_equal(state["c"], shared.numpy()[1])
    assert state["half"].dtype == weft.bfloat16 and list(state) == ["a", "b", "c", "half"]
