"""Training: the Trainer, its checkpoints, and pictures of what it did."""

from weft.train.callbacks import Callback, EarlyStopping
from weft.train.checkpoints import CheckpointStore
from weft.train.plots import draw_confusion, draw_curves, draw_images
from weft.train.rates import RateCurve, find_learning_rate
from weft.train.stopping import Interrupted, NonFiniteError
from weft.train.sweeps import Between, Sweep, sweep
from weft.train.tensorboard import SummaryWriter, TensorBoard
from weft.train.trainer import Trainer

__all__ = [
    "Between", "Callback", "CheckpointStore", "EarlyStopping", "Interrupted", "NonFiniteError", "RateCurve",
    "SummaryWriter", "Sweep", "TensorBoard", "Trainer", "draw_confusion", "draw_curves", "draw_images",
    "find_learning_rate", "sweep",
]  # fmt: skip
