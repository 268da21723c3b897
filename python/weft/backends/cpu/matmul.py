"""Matrix products. Every float32 product comes here, small ones too: two thread pools taking turns would slow both."""

import numpy as np

from weft import _cpu
from weft.backends import reference as K

K.matmul.on(np.ndarray, "ff")(_cpu.matmul)
K.linear.on(np.ndarray, "fff?")(_cpu.linear)
