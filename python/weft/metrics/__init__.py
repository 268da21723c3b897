"""Figures of classification: functions over arrays, and running versions that see one batch at a time."""

from weft.metrics.classification import accuracy, confusion_matrix, f1, precision, recall, top_k_accuracy
from weft.metrics.running import F1, Accuracy, ConfusionMatrix, Metric, Precision, Recall, TopK

__all__ = [
    "F1", "Accuracy", "ConfusionMatrix", "Metric", "Precision", "Recall", "TopK", "accuracy", "confusion_matrix", "f1",
    "precision", "recall", "top_k_accuracy",
]  # fmt: skip
