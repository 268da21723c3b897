"""What a first course in deep learning promises, row by row, and the example, recipe, test or page that shows each."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One promise. examples: names in examples/, without .py; beside: other files that show it, from the checkout."""

    number: int
    promise: str
    examples: tuple[str, ...]
    beside: tuple[str, ...] = ()


ROWS = [
    Row(1, "a neuron by hand equals `nn.Linear` and its activation", ("neuron",)),
    Row(2, "a perceptron learns AND and OR, not XOR; one hidden layer does", ("perceptron",)),
    Row(3, "hundreds of hidden layers build, run backward, train", ("deep",)),
    Row(4, "forward, loss, backward, update as four steps; the same in one `fit`", ("four_steps",)),
    Row(5, "the gradient of every weight equals finite differences", ("gradient_check",), ("tests/opcheck.py",)),
    Row(6, "too high a learning rate diverges, too low crawls: the finder", ("learning_rate",)),
    Row(7, "Python control flow that depends on data differentiates", ("control_flow",)),
    Row(8, "universal approximation: the largest error falls with the width", ("universal_approximation",)),
    Row(9, "first-layer filters and activations: edges first, shapes later", ("filters",)),
    Row(10, "overfitting, and the gap closed by five remedies", ("overfitting",)),
    Row(11, "train, validation and test data; a sweep with its table", ("sweep",)),
    Row(12, "augmentation of batches of images", ("augmentation",)),
    Row(13, "preprocessing: missing values, categories; poor data reported", ("preprocessing",)),
    Row(14, "accuracy, F1, ROC AUC, confusion, per class and per group", ("classification_figures",)),
    Row(15, "feedforward nets on tables: housing, wine, iris", ("housing", "wine_and_iris")),
    Row(16, "CNNs: MNIST, Fashion-MNIST, CIFAR-10; AlexNet's shape, ResNet-18",
        ("mnist_cnn", "cifar10_resnet18"), ("python/weft/recipes/mnist.py", "python/weft/recipes/fashion.py")),
    Row(17, "a plain recurrent net fails where LSTM and GRU remember", ("long_memory",)),
    Row(18, "names generated; temperatures and passengers forecast", ("name_generator", "forecast")),
    Row(19, "attention aligns a translation", ("number_words",), ("python/weft/recipes/dates.py",)),
    Row(20, "transformers: sentiment, spam, GPT, masked pretraining, translation",
        ("sentiment", "spam", "sampling", "masked_pretraining", "translation"),
        ("python/weft/recipes/shakespeare.py",)),
    Row(21, "GAN and WGAN-GP", ("gan",)),
    Row(22, "autoencoder and VAE: digits cluster without labels", ("vae",)),
    Row(23, "transfer learning beats training from scratch", ("transfer_learning",)),
    Row(24, "detection and segmentation", ("detection", "segmentation")),
    Row(25, "photo search and verification through embeddings", ("photo_search",)),
    Row(26, "speech: log-mel spectrograms, CNN and CTC", ("speech", "speech_ctc")),
    Row(27, "recommendation with embeddings", ("recommendation",)),
    Row(28, "imbalance: precision and recall, thresholds, focal loss", ("imbalance",)),
    Row(29, "explaining a prediction", ("explain",)),
    Row(30, "outside the training distribution", ("out_of_distribution",)),
    Row(31, "small models: pruning and int8 weights", ("small_models",)),
    Row(32, "cost before running: FLOPs, memory, epoch time", ("plan",)),
    Row(33, "latency by batch size", ("latency",)),
    Row(34, "the Keras hello-world with its import lines changed", ("keras_hello",), ("python/weft/keras",)),
    Row(35, "the net leaves for the browser and comes back", ("browser",)),
    Row(36, "coming from PyTorch, Keras, TensorFlow, JAX, Caffe, MXNet", (), ("docs/coming-from.md",)),
]  # fmt: skip


def row_of(example: str) -> int | None:
    """The number of the row that an example shows; None for one that is in no row."""
    return next((row.number for row in ROWS if example in row.examples), None)
