"""Optimizers and learning-rate schedules, with PyTorch's names, arguments, defaults and state."""

from weft.optim import lr_scheduler, swa_utils
from weft.optim.adam import Adam, AdamW
from weft.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam
from weft.optim.cyclic import CyclicLR
from weft.optim.grad_scaler import GradScaler
from weft.optim.lbfgs import LBFGS
from weft.optim.lion import Lion
from weft.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)
from weft.optim.matrices import LAMB, Adafactor, Muon
from weft.optim.optimizer import Optimizer
from weft.optim.plateau import ReduceLROnPlateau
from weft.optim.rmsprop import RMSprop
from weft.optim.sgd import SGD
