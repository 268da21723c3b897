"""Figures of predictions: functions over arrays, and running versions that see one batch at a time."""

from weft.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    f1,
    precision,
    recall,
    top_k_accuracy,
)
from weft.metrics.detection import box_iou, mean_average_precision, mean_iou
from weft.metrics.groups import Figures, by_group, per_class, purity
from weft.metrics.probability import CalibrationCurve, brier_score, calibration_curve, calibration_error, log_loss
from weft.metrics.ranking import (
    PrecisionRecallCurve,
    RocCurve,
    average_precision,
    best_threshold,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from weft.metrics.regression import MAE, MSE, R2, RMSE, mae, mape, mse, r2, rmse
from weft.metrics.running import F1, Accuracy, ConfusionMatrix, Metric, Precision, Recall, TopK
from weft.metrics.sequences import edit_distance, error_rate

__all__ = [
    "Accuracy", "CalibrationCurve", "ConfusionMatrix", "F1", "Figures", "MAE", "MSE", "Metric", "Precision",
    "PrecisionRecallCurve", "R2", "RMSE", "Recall", "RocCurve", "TopK", "accuracy", "average_precision",
    "balanced_accuracy", "best_threshold", "box_iou", "brier_score", "by_group", "calibration_curve",
    "calibration_error", "confusion_matrix", "edit_distance", "error_rate", "f1", "log_loss", "mae", "mape",
    "mean_average_precision", "mean_iou", "mse", "per_class", "precision", "precision_recall_curve", "purity", "r2",
    "recall", "rmse", "roc_auc", "roc_curve", "top_k_accuracy",
]  # fmt: skip
