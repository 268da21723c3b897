"""What `compile` was given, for each output of a model: losses with their weights, and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weft import ops
from weft.keras.losses import Loss, as_loss
from weft.keras.metric import Metric
from weft.keras.metrics import Mean, as_metric
from weft.keras.symbols import leaves


def per_output(what: str, given: Any, names: Sequence[str], single: type | tuple[type, ...]) -> list[Any]:
    """One thing for each output: given once for all, in a list, or in a dict by name."""
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"compile: expected {what} for outputs {', '.join(names)}, got {', '.join(unknown)}")
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)) and len(names) > 1:
        if len(given) != len(names):
            raise ValueError(f"compile: expected {what} for the outputs {', '.join(names)}, got {len(given)}")
        return list(given)
    if isinstance(given, (list, tuple)) and single is Loss:
        given = given[0] if len(given) == 1 else given
    return [given] * len(names)


class Compiled:
    """Losses and metrics, bound to the outputs at the first batch."""

    def __init__(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any):
        self.given = (loss, loss_weights, metrics, weighted_metrics)
        self.total = Mean(name="loss")
        self.bound = False
        self.trackers: list[Mean] = []
        self.losses: list[Loss | None] = []
        self.metrics: list[tuple[str, int, Metric, bool]] = []  # name in the logs, output, metric, weighted

    def bind(self, model: Any, y: Any, y_pred: Any) -> None:
        loss, loss_weights, metrics, weighted = self.given
        outs = self.predictions(y_pred)
        self.names = list(model.output_names) if len(model.output_names) == len(outs) else self.default_names(y_pred)
        labels = self.labels(y)
        losses = per_output("losses", loss, self.names, Loss)
        self.losses = [None if one is None else as_loss(one, t, p) for one, t, p in zip(losses, labels, outs)]
        weights = per_output("loss_weights", loss_weights, self.names, float)
        self.weights = [1.0 if w is None else float(w) for w in weights]
        several = len(outs) > 1
        self.trackers = [Mean(name=f"{name}_loss") for name in self.names] if several else []
        self.metrics, used = [], {"loss", *(tracker.name for tracker in self.trackers)}
        for group, is_weighted in ((metrics, False), (weighted, True)):
            for i, given in enumerate(self.metrics_of(group)):
                for one in given:
                    metric = as_metric(one, labels[i], outs[i])
                    name = plain = f"{self.names[i]}_{metric.name}" if several else metric.name
                    if name in used and is_weighted:
                        plain = f"weighted_{metric.name}"
                        name = plain = f"{self.names[i]}_{plain}" if several else plain
                    count = 0
                    while name in used:
                        count += 1
                        name = f"{plain}_{count}"
                    used.add(name)
                    self.metrics.append((name, i, metric, is_weighted))
        self.bound = True

    def metrics_of(self, group: Any) -> list[list[Any]]:
        """The metrics of each output."""
        if not group:
            return [[] for _ in self.names]
        if len(self.names) == 1:
            if isinstance(group, Mapping):
                group = per_output("metrics", group, self.names, Metric)[0]
            flat = leaves(group) if isinstance(group, (list, tuple)) else [group]
            return [[one for one in flat if one is not None]]
        if not isinstance(group, Mapping) and (not isinstance(group, (list, tuple)) or len(group) != len(self.names)):
            raise ValueError(f"compile: expected metrics as a dict by output ({', '.join(self.names)}) or a list of "
                             f"{len(self.names)}, got {group!r}")  # fmt: skip
        each = per_output("metrics", group, self.names, Metric)
        return [[] if one is None else list(one) if isinstance(one, (list, tuple)) else [one] for one in each]

    def default_names(self, y_pred: Any) -> list[str]:
        if isinstance(y_pred, Mapping):
            return sorted(y_pred)
        n = len(self.predictions(y_pred))
        return ["output"] if n == 1 else [f"output_{i}" for i in range(n)]

    def predictions(self, y_pred: Any) -> list[Any]:
        return list(leaves(y_pred))

    def labels(self, y: Any) -> list[Any]:
        """Labels in the order of the outputs."""
        if isinstance(y, Mapping):
            missing = [name for name in self.names if name not in y]
            if missing:
                raise ValueError(f"fit: expected labels named {', '.join(self.names)}, got {', '.join(y)}")
            return [y[name] for name in self.names]
        flat = list(leaves(y))
        if len(flat) != len(self.names):
            raise ValueError(f"fit: expected labels for {len(self.names)} outputs ({', '.join(self.names)}), "
                             f"got {len(flat)}")  # fmt: skip
        return flat

    def sample_weights(self, weight: Any) -> list[Any]:
        if weight is None:
            return [None] * len(self.names)
        if isinstance(weight, Mapping):
            return [weight.get(name) for name in self.names]
        flat = list(leaves(weight))
        return flat if len(flat) == len(self.names) else flat[:1] * len(self.names)

    def loss(self, y: Any, y_pred: Any, weight: Any) -> Any:
        """The sum of the outputs' losses by their weights; None where there is no loss."""
        rows = zip(self.losses, self.labels(y), self.predictions(y_pred), self.sample_weights(weight), self.weights)
        total = None
        for i, (loss, labels, outs, w, factor) in enumerate(rows):
            if loss is None:
                continue
            value = loss(labels, outs) if w is None else loss(labels, outs, w)
            if value.ndim:
                value = ops.mean(value)
            if self.trackers:
                self.trackers[i].update_state(value.detach(), len(outs))
            value = value if factor == 1 else value * factor
            total = value if total is None else total + value
        return total

    def update(self, y: Any, y_pred: Any, weight: Any) -> None:
        """Let the metrics see a batch."""
        if self.metrics:
            labels, outs, weights = self.labels(y), self.predictions(y_pred), self.sample_weights(weight)
            for _, i, metric, is_weighted in self.metrics:
                if is_weighted and weights[i] is not None:
                    metric.update_state(labels[i], outs[i], weights[i])
                else:
                    metric.update_state(labels[i], outs[i])

    def reset(self) -> None:
        for metric in (self.total, *self.trackers, *(metric for _, _, metric, _ in self.metrics)):
            metric.reset_state()

    def results(self) -> dict[str, Any]:
        """The figures so far, the loss first."""
        logs = {metric.name: metric.result() for metric in (self.total, *self.trackers)}
        return logs | {name: metric.result() for name, _, metric, _ in self.metrics}
