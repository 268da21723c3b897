"""TensorFlow.js: modules as layers models, which run and train in a browser, and their weights back.

>>> from weft import nn
>>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
>>> weft.tfjs.export(model, weft.ones((1, 1, 8, 8)), "page/model")                          # doctest: +SKIP
PosixPath('page/model/model.json')
>>> weft.tfjs.load("page/model", model)             # what the page trained and saved         # doctest: +SKIP
"""

from weft.tfjs.export import export
from weft.tfjs.files import FileError, read
from weft.tfjs.layers import UnsupportedError
from weft.tfjs.weights import load

__all__ = ["FileError", "UnsupportedError", "export", "load", "read"]
