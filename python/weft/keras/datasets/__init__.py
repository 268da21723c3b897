"""Data sets as Keras hands them out: `load_data()` gives (x_train, y_train), (x_test, y_test), NumPy arrays of uint8.

The files are found, and fetched by `weft data get NAME`, as those of `weft.data`; nothing is downloaded behind one's
back.
"""

from weft.keras.datasets import cifar10, fashion_mnist, mnist
