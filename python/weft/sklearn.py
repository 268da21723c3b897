"""Networks as scikit-learn's estimators: in its pipelines, searches and cross-validations.

    from weft.sklearn import Classifier
    make_pipeline(StandardScaler(), Classifier(hidden=(64,), random_state=0)).fit(X, y).score(X_test, y_test)

Needs scikit-learn >= 1.6 (the extra `examples`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import weft.random
from weft import nn, optim
from weft.autograd import Tensor, no_grad
from weft.backends.device import place
from weft.ops import cross_entropy, softmax

__all__ = ["Classifier", "Network", "Regressor"]

Array = np.ndarray[Any, Any]


def mlp(features: int, hidden: Any, outputs: int) -> nn.Module:
    """Linear layers with ReLU between them, He's initial weights."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(features, width), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        nn.init.zeros_(layers[-2].bias)
        features = width
    return nn.Sequential(*layers, nn.Linear(features, outputs))


class Network(BaseEstimator):  # type: ignore[misc]
    """What Classifier and Regressor share: building, training and evaluating a Module on arrays.

    module: what maps X (N, ...) to outputs (N, outputs): a Module, of which `fit` trains a copy; a function of
    (features, outputs), or a class, that makes one; None: linear layers of the widths `hidden` with ReLU between.
    optimizer: a class of weft.optim or a function of (parameters, lr); None: AdamW. lr, weight_decay: its. epochs: how
    often each sample is seen. batch_size: samples a step (None: all). shuffle: a new order each epoch. tol, patience:
    training ends when its loss has not fallen by `tol` for `patience` epochs (patience=None: never). dtype: what X
    becomes; None leaves it. device: where it runs. random_state: initial weights, orders and dropout; an int makes a
    fit repeatable. verbose: a line per epoch.
    """

    def __init__(
        self,
        module: Any = None,
        *,
        hidden: tuple[int, ...] = (100,),
        optimizer: Any = None,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        epochs: int = 200,
        batch_size: int | None = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        patience: int | None = 10,
        dtype: Any = "float32",
        device: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.module = module
        self.hidden = hidden
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.tol = tol
        self.patience = patience
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # ---- what the two kinds differ in

    def targets(self, X: Any, y: Any, reset: bool, weights: Any = None) -> tuple[Array, Array]:
        """X and y checked, y as the loss wants it."""
        raise NotImplementedError

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The loss of each sample, (N,)."""
        raise NotImplementedError

    def width(self) -> int:
        """How many outputs the module has."""
        raise NotImplementedError

    # ---- training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train from the start. X (N, features), or of more axes with a module of your own; y (N,) or (N, outputs).

        sample_weight (N,): how much each sample counts; 0 is as if it were not there.
        """
        self.check()
        inputs, targets = self.targets(X, y, True, sample_weight)
        weights = _check_sample_weight(sample_weight, inputs, dtype=np.float64, ensure_non_negative=True)
        with self.numbers():
            self.build(inputs)
            self.train(inputs, targets, weights, self.epochs)
        return self

    def check(self) -> None:
        name = type(self).__name__
        least = {"epochs": self.epochs, "batch_size": self.batch_size, "patience": self.patience}
        wrong = {key: value for key, value in least.items() if value is not None and value < 1}
        if wrong or not self.lr > 0:
            raise ValueError(f"{name}: expected epochs, batch_size and patience >= 1 and lr > 0, "
                             f"got {wrong or {'lr': self.lr}}")  # fmt: skip

    def numbers(self) -> Seeded:
        """The random numbers of a training that begins."""
        self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return Seeded(self.seed_)

    def build(self, inputs: Array) -> None:
        if isinstance(self.module, nn.Module):
            self.module_ = copy.deepcopy(self.module)
        elif callable(self.module):
            self.module_ = self.module(inputs.shape[1], self.width())
        elif self.module is None:
            self.module_ = mlp(inputs.shape[1], self.hidden, self.width())
        else:
            raise TypeError(f"{type(self).__name__}: expected a Module, a function that makes one, or None as module, "
                            f"got {type(self.module).__name__}")  # fmt: skip
        self.module_.to(device=self.device, dtype=inputs.dtype if inputs.dtype.kind == "f" else None)
        parameters = list(self.module_.parameters())
        if self.optimizer is None:
            self.optimizer_ = optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        else:
            self.optimizer_ = self.optimizer(parameters, lr=self.lr)
        self.loss_curve_: list[float] = []
        self.n_iter_ = 0

    def train(self, inputs: Array, targets: Array, weights: Array, epochs: int) -> None:
        best, waited = np.inf, 0
        self.module_.train()
        for _ in range(epochs):
            total = 0.0
            for rows in self.batches(len(inputs)):
                share = weights[rows]
                if not share.any():
                    continue
                losses = self.losses(self.outputs(inputs[rows]), self.tensor(targets[rows]))
                loss = (losses * self.tensor((share / share.sum()).astype(losses.dtype))).sum()
                self.optimizer_.zero_grad()
                loss.backward()
                self.optimizer_.step()
                total += loss.item() * share.sum()
            self.n_iter_ += 1
            self.loss_curve_.append(total / weights.sum() if weights.any() else 0.0)
            if self.verbose:
                print(f"epoch {self.n_iter_}  loss {self.loss_curve_[-1]:.6g}")
            best, waited = (self.loss_curve_[-1], 0) if self.loss_curve_[-1] < best - self.tol else (best, waited + 1)
            if self.patience is not None and waited >= self.patience:
                break

    def batches(self, n: int) -> Iterator[Array]:
        order = weft.random.permutation(n, device="cpu").numpy() if self.shuffle else np.arange(n)
        size = self.batch_size or n
        for start in range(0, n, size):
            yield order[start : start + size]

    def outputs(self, inputs: Array) -> Tensor:
        out = self.module_(self.tensor(inputs))
        wanted = (len(inputs), self.width())
        if out.shape != wanted:
            raise ValueError(f"{type(self).__name__}: expected a module with outputs {wanted}, got {out.shape}")
        return out  # type: ignore[no-any-return]

    def tensor(self, values: Array) -> Tensor:
        first = next(self.module_.parameters(), None)
        return Tensor(values if first is None else place(values, first.device))

    def step(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """One more epoch over X."""
        first = not hasattr(self, "module_")
        inputs, targets = self.targets(X, y, first, sample_weight)
        weights = _check_sample_weight(sample_weight, inputs, dtype=np.float64, ensure_non_negative=True)
        with self.numbers() if first else Seeded(weft.random.fold(self.seed_, self.n_iter_)):
            if first:
                self.build(inputs)
            self.train(inputs, targets, weights, 1)
        return self

    # ---- using what was trained

    def evaluate(self, X: Any) -> Array:
        """The module's outputs for X in eval mode, (N, outputs)."""
        check_is_fitted(self, "module_")
        inputs = self.validated(X, reset=False)
        self.module_.eval()
        size = self.batch_size or len(inputs)
        with no_grad():
            parts = [self.outputs(inputs[i : i + size]).numpy() for i in range(0, len(inputs), size)]
        return np.concatenate(parts)

    def validated(self, X: Any, y: Any = "no_validation", reset: bool = True, **options: Any) -> Any:
        """X (and y, where there is one) as scikit-learn checks them."""
        dtype = "numeric" if self.dtype is None else np.dtype(self.dtype)
        return validate_data(self, X, y, reset=reset, dtype=dtype, allow_nd=self.module is not None, **options)


class Seeded:
    """Weft's random numbers from a seed for a block; those of the caller go on afterwards as if nothing had been."""

    def __init__(self, seed: int):
        self.seed = seed

    def __enter__(self) -> None:
        self.before = weft.random.get_state()
        weft.random.seed(self.seed)

    def __exit__(self, *_: object) -> None:
        weft.random.set_state(self.before)


class Classifier(ClassifierMixin, Network):  # type: ignore[misc]
    """A network that tells classes apart, trained on the cross-entropy of the softmax of its outputs.

    y: labels (N,) of any kind, two or more; `classes_` has them in order, and the module one output for each.
    The settings are those of `Network`.

    >>> from weft.sklearn import Classifier
    >>> X, y = numpy.array([[0.0], [1.0], [2.0], [3.0]]), ["low", "low", "high", "high"]   # doctest: +SKIP
    >>> Classifier(random_state=0).fit(X, y).predict([[2.5]])                              # doctest: +SKIP
    array(['high'], dtype='<U4')
    """

    all_classes: Any = None  # those that partial_fit was told of, while it runs

    def targets(self, X: Any, y: Any, reset: bool, weights: Any = None) -> tuple[Array, Array]:
        inputs, labels = self.validated(X, y, reset)
        check_classification_targets(labels)
        if reset:
            self.classes_ = np.unique(labels) if self.all_classes is None else self.all_classes
        unknown = np.setdiff1d(labels, self.classes_)
        if unknown.size:
            raise ValueError(f"Classifier: expected labels out of {self.classes_.tolist()}, got {unknown.tolist()}")
        return inputs, np.searchsorted(self.classes_, labels)

    def width(self) -> int:
        return len(self.classes_)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(outputs, y, reduction="none")  # type: ignore[no-any-return]

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, over X. classes: all labels there will be, with the first call (else those of its y)."""
        self.check()
        if classes is not None:
            classes = np.unique(classes)
            if hasattr(self, "module_") and not np.array_equal(classes, self.classes_):
                raise ValueError(f"Classifier: expected classes as in the first call to partial_fit, "
                                 f"{self.classes_.tolist()}, got {classes.tolist()}")  # fmt: skip
        self.all_classes = classes
        try:
            return self.step(X, y, sample_weight)
        finally:
            del self.all_classes

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (N, classes), in the order of `classes_`."""
        return softmax(Tensor(self.evaluate(X)), axis=1).numpy()  # type: ignore[no-any-return]

    def predict(self, X: Any) -> Array:
        """The likeliest class of each sample, (N,)."""
        outputs = self.evaluate(X)
        return self.classes_[outputs.argmax(axis=1)]


class Regressor(RegressorMixin, Network):  # type: ignore[misc]
    """A network that predicts numbers, trained on the squared error.

    y: (N,) or (N, outputs). It is trained on targets of mean 0 and deviation 1, and `predict` undoes that.
    The settings are those of `Network`.

    >>> from weft.sklearn import Regressor
    >>> Regressor(random_state=0).fit(X, y).predict(X_test)                                # doctest: +SKIP
    """

    def targets(self, X: Any, y: Any, reset: bool, weights: Any = None) -> tuple[Array, Array]:
        options = {} if y is None else {"y_numeric": True, "multi_output": True}  # without y, it says that y is missing
        inputs, goals = self.validated(X, y, reset, **options)
        goals = np.asarray(goals, np.float64)
        table = goals.reshape(len(goals), -1)
        if reset:
            share = _check_sample_weight(weights, inputs, dtype=np.float64)
            self.target_axes_ = goals.ndim
            self.target_mean_ = np.average(table, axis=0, weights=share if share.any() else None)
            squares = (table - self.target_mean_) ** 2
            spread = np.sqrt(np.average(squares, axis=0, weights=share if share.any() else None))
            self.target_scale_ = np.where(spread > 0, spread, 1.0)
        if table.shape[1] != self.width():
            raise ValueError(f"Regressor: expected targets of {self.width()} numbers, got shape {goals.shape}")
        scaled = (table - self.target_mean_) / self.target_scale_
        return inputs, scaled.astype(inputs.dtype if inputs.dtype.kind == "f" else np.float32)

    def width(self) -> int:
        return len(self.target_mean_)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        return ((outputs - y) ** 2).mean(axis=1)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch, over X. The first call's y sets the scale of the targets."""
        self.check()
        return self.step(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """The numbers of each sample, float64 of y's shape."""
        out = self.evaluate(X) * self.target_scale_ + self.target_mean_
        return out[:, 0] if self.target_axes_ == 1 else out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
