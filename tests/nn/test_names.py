"""Every name that Weft takes from PyTorch is there, with PyTorch's arguments and defaults, and has a comparison."""

import ast
import inspect
from pathlib import Path

import pytest

import weft  # noqa: F401
from nn import test_names_layers, test_names_losses
from peer import torch
from weft import nn, optim

HERE = Path(__file__).resolve().parent
MODULES = {
    "nn": (nn, torch.nn),
    "nn.utils": (nn.utils, torch.nn.utils),
    "nn.utils.rnn": (nn.utils.rnn, torch.nn.utils.rnn),
    "optim": (optim, torch.optim),
    "optim.swa_utils": (optim.swa_utils, torch.optim.swa_utils),
    "optim.lr_scheduler": (optim.lr_scheduler, torch.optim.lr_scheduler),
    "nn.functional": (nn.functional, torch.nn.functional),
}

NAMES = {
    "nn": """
        Module Sequential ModuleList ModuleDict Parameter Buffer Identity Flatten Unflatten
        Linear Bilinear Embedding EmbeddingBag Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d
        ConvTranspose3d
        MaxPool1d MaxPool2d AvgPool1d AvgPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d
        MaxPool3d AvgPool3d AdaptiveAvgPool3d AdaptiveMaxPool3d LPPool1d LPPool2d LPPool3d
        ZeroPad1d ZeroPad2d ZeroPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d
        ReplicationPad2d ReplicationPad3d CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d
        ConstantPad3d Upsample PixelShuffle PixelUnshuffle Unfold Fold
        BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm RMSNorm GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d
        LocalResponseNorm
        ReLU LeakyReLU PReLU ReLU6 ELU SELU CELU GELU SiLU Mish Hardswish Hardtanh Hardsigmoid Sigmoid LogSigmoid Tanh
        Softmax LogSoftmax Softplus Softsign GLU
        RNN LSTM GRU RNNCell LSTMCell GRUCell MultiheadAttention TransformerEncoder TransformerEncoderLayer
        TransformerDecoder TransformerDecoderLayer Transformer RotaryEmbedding SinusoidalPositionalEncoding
        KeyValueCache
        Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout DropPath
        MSELoss L1Loss SmoothL1Loss HuberLoss CrossEntropyLoss NLLLoss BCELoss BCEWithLogitsLoss KLDivLoss CTCLoss
        TripletMarginLoss CosineEmbeddingLoss MarginRankingLoss HingeEmbeddingLoss PoissonNLLLoss GaussianNLLLoss
        FocalLoss DiceLoss""",
    "nn.utils": """
        clip_grad_norm_ clip_grad_value_ parameters_to_vector vector_to_parameters spectral_norm remove_spectral_norm
        weight_norm remove_weight_norm""",
    "nn.utils.rnn": """
        PackedSequence pack_padded_sequence pad_packed_sequence pad_sequence unpad_sequence pack_sequence
        unpack_sequence""",
    "optim": """
        SGD Adam AdamW NAdam RAdam Adamax RMSprop Adagrad Adadelta Adafactor Lion LAMB Muon LBFGS""",
    "optim.swa_utils": """
        AveragedModel get_ema_avg_fn get_ema_multi_avg_fn get_swa_avg_fn get_swa_multi_avg_fn update_bn""",
    "optim.lr_scheduler": """
        StepLR MultiStepLR ExponentialLR ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts LinearLR PolynomialLR
        OneCycleLR CyclicLR ReduceLROnPlateau LambdaLR SequentialLR""",
    "nn.functional": """
        linear bilinear embedding embedding_bag one_hot conv1d conv2d conv3d conv_transpose1d conv_transpose2d
        max_pool1d max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d
        adaptive_max_pool2d lp_pool1d lp_pool2d
        max_pool3d avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d lp_pool3d
        pad interpolate pixel_shuffle pixel_unshuffle unfold fold
        batch_norm layer_norm rms_norm group_norm instance_norm local_response_norm normalize
        relu leaky_relu prelu relu6 elu selu celu gelu silu mish hardswish hardtanh hardsigmoid sigmoid logsigmoid tanh
        softmax log_softmax softplus softsign glu scaled_dot_product_attention
        dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout drop_path
        mse_loss l1_loss smooth_l1_loss huber_loss cross_entropy nll_loss binary_cross_entropy
        binary_cross_entropy_with_logits kl_div ctc_loss triplet_margin_loss cosine_embedding_loss margin_ranking_loss
        hinge_embedding_loss poisson_nll_loss gaussian_nll_loss focal_loss dice_loss pairwise_distance
        cosine_similarity""",
}  # fmt: skip
CASES = [(where, name) for where, names in NAMES.items() for name in names.split()]
OF_NO_PEER = {  # the test that holds each against its paper
    "RotaryEmbedding": "test_rotary_is_its_papers", "SinusoidalPositionalEncoding": "test_sinusoidal_is_its_papers",
    "KeyValueCache": "test_decoding_with_a_cache_is_the_whole_pass", "DropPath": "test_drop_path",
    "FocalLoss": "test_focal_is_its_papers", "DiceLoss": "test_dice_is_its_papers", "Lion": "test_lion_is_its_papers",
    "LAMB": "test_lamb_is_its_papers", "focal_loss": "", "dice_loss": "", "drop_path": "",
}  # fmt: skip

# Arguments of PyTorch's that say how it runs or that it is giving up, and ours that it has not.
NOT_TAKEN = {
    "device": "weft.set_default_device and Module.to say where parameters live",
    "size_average": "reduction has replaced it", "reduce": "reduction has replaced it",
    "min_value": "min_val has replaced it", "max_value": "max_val has replaced it",
    "foreach": "how PyTorch runs a step", "fused": "how PyTorch runs a step",
    "capturable": "how PyTorch runs a step", "differentiable": "how PyTorch runs a step",
    "_weight": "PyTorch's own", "_freeze": "PyTorch's own", "_stacklevel": "PyTorch's own", "out": "written results",
    "args": "of any kind", "kwargs": "of any kind", "dtype": "of softmax: cast first", "mode": "of RNNBase",
}  # fmt: skip
ALSO_TAKEN = {"dtype", "generator", "residual", "relu", "inplace", "weight"}


def parameters(thing):
    """{name: default} of a class's constructor or of a function, or None where Python cannot say."""
    try:
        given = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters
    except ValueError:
        return None
    return {k: p.default for k, p in given.items() if k != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def by_position(thing):
    given = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing).parameters
    return [k for k, p in given.items() if p.kind == p.POSITIONAL_OR_KEYWORD]


@pytest.mark.parametrize("where, name", CASES)
def test_arguments_are_pytorchs(where, name):
    ours, theirs = (getattr(m, name, None) for m in MODULES[where])
    assert ours is not None, f"weft.{where} has no {name}"
    if name in OF_NO_PEER:
        return
    assert theirs is not None, f"PyTorch has no {name}: it belongs among OF_NO_PEER"
    mine, its = parameters(ours), parameters(theirs)
    if its is None or name in ("Module", "Parameter", "Buffer", "RNN", "LSTM", "GRU", "PackedSequence"):
        return  # written in C, or taking anything
    for key, default in its.items():
        if key in NOT_TAKEN:
            continue
        assert key in mine, f"{name} takes no {key}"
        assert mine[key] == default or callable(default), f"{name}: {key} is {mine[key]}, PyTorch's {default}"
    extra = set(mine) - set(its) - ALSO_TAKEN
    assert not extra or not its, f"{name} takes {extra}, which PyTorch does not"
    shared = [k for k in by_position(ours) if k in its]
    assert shared == [k for k in its if k in shared], f"{name} takes its arguments in another order than PyTorch"


def test_recurrent_layers_take_what_pytorch_documents():
    rest = ["bias", "batch_first", "dropout", "bidirectional"]
    assert list(parameters(nn.GRU)) == ["input_size", "hidden_size", "num_layers", *rest, "dtype"]
    assert list(parameters(nn.LSTM)) == ["input_size", "hidden_size", "num_layers", *rest, "proj_size", "dtype"]
    assert list(parameters(nn.RNN)) == ["input_size", "hidden_size", "num_layers", "nonlinearity", *rest, "dtype"]
    defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
    for layer in (nn.RNN, nn.GRU, nn.LSTM):
        assert {k: v for k, v in parameters(layer).items() if k in defaults} == defaults


def compared():
    """All words in the strings and names of the tests of layers and optimizers, and the functions that they define."""
    words, functions = set(), set()
    for path in (*HERE.glob("test_*.py"), *HERE.parent.joinpath("optim").glob("test_*.py")):
        if path.name == "test_names.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.update(node.value.split())
            elif isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                functions.add(node.name)
    return words, functions


def test_every_name_has_its_comparison():
    words, functions = compared()
    rows = {name.split()[0] for name in test_names_layers.ROWS} | set(test_names_losses.ROWS)
    missing = []
    for where, name in CASES:
        if where == "nn.functional":
            continue  # under the layers that are compared, or in test_functional
        test = OF_NO_PEER.get(name)
        if not (test in functions if test else name in rows or name in words):
            missing.append(f"{where}.{name}")
    assert not missing, f"no test compares {', '.join(missing)}"
