"""Folders with config.json and weights: what is not understood is refused by name, before anything is allocated."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

import weft
from weft import io, models
from weft.models import rotary

rng = np.random.default_rng(3)
SMALL = {
    "gpt2": lambda: models.GPT2LMHeadModel(
        models.GPT2Config(vocab_size=20, n_positions=12, n_embd=8, n_layer=2, n_head=2)),
    "bert": lambda: models.BertForMaskedLM(models.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=12)),
    "labels": lambda: models.BertForSequenceClassification(models.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=12, num_labels=3)),
    "llama": lambda: models.LlamaForCausalLM(models.LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2)),
    "vit": lambda: models.ViTForImageClassification(models.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, image_size=8, patch_size=4)),
    "resnet": lambda: models.ResNetForImageClassification(models.ResNetConfig(
        embedding_size=4, hidden_sizes=[8], depths=[1])),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    def made(name):
        SMALL[name]().save_pretrained(tmp_path)
        return tmp_path

    return made


def change(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    config.update(fields)
    text = json.dumps({k: v for k, v in config.items() if v is not ...})
    (folder / "config.json").write_text(text.replace("Infinity", "1e999"))  # which JSON can say


def change_weights(folder, change):
    io.save(folder / "model.safetensors", change(io.load(folder / "model.safetensors")))


@pytest.mark.parametrize("name", SMALL)
def test_what_is_saved_is_loaded(name, tmp_path):
    model = SMALL[name]().eval()
    model.save_pretrained(tmp_path, shard_bytes=700)
    back = models.from_pretrained(tmp_path)
    assert type(back) is type(model)
    assert {**vars(back.config), "other": {}} == vars(model.config)
    state = model.state_dict()
    assert list(back.state_dict()) == list(state)
    assert all(np.array_equal(array, state[key]) for key, array in back.state_dict().items())
    assert all(p.requires_grad and p.data.flags.writeable for p in back.parameters())


FIELDS = {
    "gpt2": {"add_cross_attention": True, "n_embd": 9, "n_head": 0, "n_layer": "2", "activation_function": "laplace",
             "quantization_config": {"bits": 4}, "resid_pdrop": 2.0, "vocab_size": True, "n_positions": -1,
             "scale_attn_weights": 1, "is_encoder_decoder": True, "pruned_heads": {"0": [1]}},
    "bert": {"position_embedding_type": "relative_key", "is_decoder": True, "tie_word_embeddings": False,
             "hidden_act": "xielu", "layer_norm_eps": float("inf"),
             "initializer_range": -0.5, "pad_token_id": 20, "embedding_size": 4},
    "llama": {"num_key_value_heads": 3, "rope_parameters": {"rope_type": []}, "sliding_window": 4, "head_dim": 3,
              "rope_scaling": {"type": "linear"}, "attention_bias": "no", "rope_theta": -1.0},
    "vit": {"image_size": [8], "patch_size": 9, "image_size ": 8, "hidden_act": 3, "interpolate_pos_encoding": True},
    "resnet": {"layer_type": "wide", "depths": [], "hidden_sizes": [8, 8], "depths ": [1], "num_groups": 2},
}  # fmt: skip


@pytest.mark.parametrize("name, field", [(name, field) for name, fields in FIELDS.items() for field in fields])
def test_a_field_that_is_not_supported_is_named(name, field, folder):
    path = folder(name)
    change(path, **{field: FIELDS[name][field]})
    with pytest.raises(ValueError) as caught:
        models.from_pretrained(path)
    words = {"n_embd": "width", "n_head": "n_head", "hidden_act": "activation|hidden_act", "head_dim": "head_dim",
             "activation_function": "activation", "resid_pdrop": "Dropout", "patch_size": "patches",
             "rope_scaling": "rope_parameters"}  # fmt: skip
    assert any(word in str(caught.value) for word in words.get(field, field).split("|")), caught.value


def test_harmless_fields_are_kept(folder):
    path = folder("gpt2")
    change(path, task_specific_params={"text-generation": {"do_sample": True}}, torch_dtype="float32", n_ctx=12)
    models.from_pretrained(path).save_pretrained(path)
    kept = json.loads((path / "config.json").read_text())
    assert kept["task_specific_params"] == {"text-generation": {"do_sample": True}} and kept["n_ctx"] == 12


@pytest.mark.parametrize("named", [None, [], ["GPT2Model"], ["os.system"], "GPT2LMHeadModel", [3], ["from_pretrained"]])
def test_an_unknown_class_is_refused(named, folder):
    path = folder("gpt2")
    change(path, architectures=named)
    with pytest.raises(ValueError, match="expected architectures of .* out of GPT2LMHeadModel, BertModel"):
        models.from_pretrained(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, "\xff"])
def test_a_config_that_is_no_json_object(text, folder):
    path = folder("gpt2")
    (path / "config.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match="config.json"):
        models.from_pretrained(path)


def test_what_is_not_there(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="config.json"):
        models.from_pretrained(tmp_path)
    path = folder("gpt2")
    (path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        models.from_pretrained(path)
    (path / "pytorch_model.bin").write_bytes(b"PK\3\4")
    with pytest.raises(io.CheckpointError, match="convert it once"):
        models.from_pretrained(path)
    with pytest.raises(ValueError, match="BertModel: expected model_type 'bert'"):
        models.BertModel.from_pretrained(path)


def test_tensors_that_do_not_fit_are_all_named(folder):
    path = folder("gpt2")

    def spoil(state):
        state["transformer.h.0.attn.c_attn.wieght"] = state.pop("transformer.h.0.attn.c_attn.weight")
        return state | {"transformer.wpe.weight": np.zeros((11, 8), "f"), "extra": np.zeros(1, "f")}

    change_weights(path, spoil)
    with pytest.raises(ValueError) as caught:
        models.from_pretrained(path)
    message = str(caught.value)
    assert "transformer.wpe.weight: expected shape (12, 8), got (11, 8)" in message
    assert "c_attn.weight: missing, expected shape (24, 8) (nearest: transformer.h.0.attn.c_attn.wieght" in message
    assert "extra: unexpected, got shape (1,)" in message


def test_integers_for_floats_are_refused_and_floats_cast(folder):
    path = folder("resnet")
    key = "resnet.embedder.embedder.normalization.num_batches_tracked"
    change_weights(path, lambda state: state | {key: np.array(1.5, "f")})
    with pytest.raises(ValueError, match="num_batches_tracked: expected dtype int64, got float32"):
        models.from_pretrained(path)


def test_what_starts_anew_in_a_normalisation(folder):
    path = folder("resnet")
    model = models.ResNetForImageClassification.from_pretrained(
        path, fresh=("resnet.embedder",), without=("resnet.embedder",)
    )
    norm = model.resnet.embedder.embedder.normalization
    assert (norm.running_mean.numpy() == 0).all() and (norm.running_var.numpy() == 1).all()
    assert norm.num_batches_tracked.dtype == np.int64 and norm.num_batches_tracked.item() == 0


def test_a_nested_state_dict_is_no_file_of_weights(folder):
    path = folder("resnet")
    weft.save(path / "model.safetensors", {"state": weft.load(path)})
    with pytest.raises(ValueError, match="got a nested state_dict"):
        models.from_pretrained(path)


def test_a_giant_that_the_file_does_not_hold_takes_no_memory(folder):
    path = folder("llama")
    tracemalloc.start()
    change(path, hidden_size=2**20, head_dim=2**19, vocab_size=2**30, intermediate_size=2**30)
    with pytest.raises(ValueError, match="model.embed_tokens.weight: expected shape"):
        models.from_pretrained(path)
    change(path, num_hidden_layers=2**31 - 1)
    with pytest.raises(ValueError, match="tensors of 2147483647 layers"):
        models.from_pretrained(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_names_of_older_files(folder):
    path = folder("gpt2")
    before = models.from_pretrained(path).state_dict()
    change_weights(path, lambda state: {name.removeprefix("transformer."): a for name, a in state.items()} | {
        "h.0.attn.bias": np.ones((1, 1, 12, 12), "?"), "h.1.attn.masked_bias": np.array(-1e4, "f"),
        "lm_head.weight": state["transformer.wte.weight"]})  # fmt: skip
    after = models.from_pretrained(path).state_dict()
    assert list(after) == list(before) and all(np.array_equal(after[n], before[n]) for n in before)
    change_weights(path, lambda state: {name: a for name, a in state.items() if name != "wte.weight"})
    after = models.from_pretrained(path).state_dict()
    assert np.array_equal(after["transformer.wte.weight"], before["transformer.wte.weight"])
    change_weights(path, lambda state: state | {"wte.weight": state["lm_head.weight"] + 1})
    with pytest.raises(ValueError, match="lm_head.weight to be transformer.wte.weight"):
        models.from_pretrained(path)


def test_bert_of_older_files_and_other_heads(folder):
    path = folder("bert")
    before = models.from_pretrained(path)
    change_weights(path, lambda state: {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in state.items()} | {
        "bert.embeddings.position_ids": np.arange(12)[None], "bert.pooler.dense.weight": np.zeros((8, 8), "f"),
        "bert.pooler.dense.bias": np.zeros(8, "f"), "cls.seq_relationship.weight": np.zeros((2, 8), "f"),
        "cls.seq_relationship.bias": np.zeros(2, "f"), "cls.predictions.decoder.bias": state["cls.predictions.bias"],
        "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"]})  # fmt: skip
    after = models.from_pretrained(path).state_dict()
    assert all(np.array_equal(after[name], array) for name, array in before.state_dict().items())

    labels = models.BertForSequenceClassification
    with pytest.raises(ValueError, match="classifier.weight: missing"):
        labels.from_pretrained(path, without=("cls.",))
    weft.random.seed(0)
    new = labels.from_pretrained(path, fresh=("classifier",), without=("cls.",), num_labels=4)
    assert new.classifier.weight.shape == (4, 8) and 0 < np.abs(new.classifier.weight.numpy()).max() < 0.2
    assert not new.classifier.bias.numpy().any() and new(np.ones((2, 5), int)).shape == (2, 4)
    half = labels.from_pretrained(path, fresh=("classifier",), without=("cls.",), dtype=weft.bfloat16)
    assert {p.dtype for p in half.parameters()} == {weft.bfloat16}
    with pytest.raises(ValueError, match="floating dtype, got int8"):
        models.from_pretrained(path, dtype=weft.int8)
    assert np.array_equal(
        new.state_dict()["bert.embeddings.LayerNorm.weight"], after["bert.embeddings.LayerNorm.weight"]
    )


def test_rope_of_older_files(folder):
    path = folder("llama")
    change(path, rope_parameters=..., rope_theta=500.0, rope_scaling={"type": "linear", "factor": 2.0})
    config = models.from_pretrained(path).config
    assert config.rope_parameters == {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}


def test_plain_rotary_tables_are_the_operator_s():
    ours = rotary.rotary_tables({}, 8, 10, np.arange(3, 9))
    for a, b in zip(ours, weft.rope_tables(6, 8, start=3)):
        assert np.array_equal(a, b.numpy())


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama"])
def test_arguments_that_do_not_fit(name):
    model, tokens = SMALL[name]().eval(), np.ones((2, 5), int)
    for bad, message in (
        ({"input_ids": tokens[0]}, "expected integers"), ({"input_ids": tokens * 0.5}, "expected integers"),
        ({"attention_mask": np.ones((2, 4))}, "attention_mask"), ({"attention_mask": tokens + 1}, "attention_mask"),
        ({"position_ids": np.arange(4)}, "position_ids"), ({"position_ids": -np.arange(5)}, "position_ids"),
        ({"position_ids": np.ones((3, 5), int)}, "position_ids"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model(**{"input_ids": tokens, **bad})
    with pytest.raises(IndexError):
        model(tokens + 20)
    if name != "llama":
        with pytest.raises(ValueError, match="positions below 12, got 12"):
            model(np.ones((1, 13), int))


def test_images_that_do_not_fit():
    with pytest.raises(ValueError, match=r"ViT: expected images \(N, channels, 8, 8\), got \(1, 3, 8, 12\)"):
        SMALL["vit"]()(weft.zeros((1, 3, 8, 12)))


def test_models_train():
    """A step lowers the loss, with the dropout of the configuration."""
    model = SMALL["gpt2"]()
    assert model.training
    optimizer = weft.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = np.tile(rng.permutation(20)[:6], (4, 2))
    losses = []
    for _ in range(30):
        scores = model(tokens[:, :-1])
        loss = weft.nn.functional.cross_entropy(scores.reshape(-1, 20), weft.asarray(tokens[:, 1:].reshape(-1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
