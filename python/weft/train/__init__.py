"""Training: the Trainer, its checkpoints, and pictures of what it did."""

from weft.train.callbacks import Callback, EarlyStopping
from weft.train.checkpoints import CheckpointStore
from weft.train.plots import draw_confusion, draw_curves
from weft.train.stopping import Interrupted, NonFiniteError
from weft.train.tensorboard import SummaryWriter, TensorBoard
from weft.train.trainer import Trainer

__all__ = [
    "Callback", "CheckpointStore", "EarlyStopping", "Interrupted", "NonFiniteError", "SummaryWriter",
    "TensorBoard", "Trainer", "draw_confusion", "draw_curves",
]  # fmt: skip
