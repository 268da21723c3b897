"""Examples for the docstrings of functions that no `def` of their own makes; tests/test_examples.py runs them."""

EXAMPLES = {
    "acos": """
>>> weft.acos(weft.asarray([1.0, 0.0])).numpy()
array([0.       , 1.5707964], dtype=float32)
""",
    "acosh": """
>>> weft.acosh(weft.asarray([1.0, 2.0])).numpy()
array([0.      , 1.316958], dtype=float32)
""",
    "all": """
>>> weft.all(weft.asarray([[True, False], [True, True]]), axis=1).numpy()
array([False,  True])
""",
    "any": """
>>> weft.any(weft.asarray([[True, False], [False, False]]), axis=1).numpy()
array([ True, False])
""",
    "argmax": """
>>> weft.argmax(weft.asarray([[1.0, 3.0], [5.0, 2.0]]), axis=1).numpy()
array([1, 0])
""",
    "argmin": """
>>> weft.argmin(weft.asarray([[1.0, 3.0], [5.0, 2.0]]), axis=1).numpy()
array([0, 1])
""",
    "asin": """
>>> weft.asin(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 1.5707964], dtype=float32)
""",
    "asinh": """
>>> weft.asinh(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 0.8813736], dtype=float32)
""",
    "atan": """
>>> weft.atan(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 0.7853982], dtype=float32)
""",
    "atanh": """
>>> weft.atanh(weft.asarray([0.0, 0.5])).numpy()
array([0.        , 0.54930615], dtype=float32)
""",
    "bitwise_and": """
>>> weft.bitwise_and(weft.asarray([6, 5]), 3).numpy()
array([2, 1])
""",
    "bitwise_invert": """
>>> weft.bitwise_invert(weft.asarray([0, 5])).numpy()
array([-1, -6])
""",
    "bitwise_left_shift": """
>>> weft.bitwise_left_shift(weft.asarray([1, 3]), 2).numpy()
array([ 4, 12])
""",
    "bitwise_or": """
>>> weft.bitwise_or(weft.asarray([6, 5]), 3).numpy()
array([7, 7])
""",
    "bitwise_right_shift": """
>>> weft.bitwise_right_shift(weft.asarray([8, -8]), 1).numpy()
array([ 4, -4])
""",
    "bitwise_xor": """
>>> weft.bitwise_xor(weft.asarray([6, 5]), 3).numpy()
array([5, 6])
""",
    "ceil": """
>>> weft.ceil(weft.asarray([-1.5, 1.5])).numpy()
array([-1.,  2.], dtype=float32)
""",
    "cos": """
>>> weft.cos(weft.asarray([0.0, 1.0])).numpy()
array([1.       , 0.5403023], dtype=float32)
""",
    "cosh": """
>>> weft.cosh(weft.asarray([0.0, 1.0])).numpy()
array([1.       , 1.5430807], dtype=float32)
""",
    "equal": """
>>> weft.equal(weft.asarray([1, 2]), weft.asarray([1, 3])).numpy()
array([ True, False])
""",
    "erf": """
>>> weft.erf(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 0.8427007], dtype=float32)
""",
    "exp": """
>>> weft.exp(weft.asarray([0.0, 1.0])).numpy()
array([1.       , 2.7182817], dtype=float32)
""",
    "expm1": """
>>> weft.expm1(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 1.7182819], dtype=float32)
""",
    "floor": """
>>> weft.floor(weft.asarray([-1.5, 1.5])).numpy()
array([-2.,  1.], dtype=float32)
""",
    "floor_divide": """
>>> weft.floor_divide(weft.asarray([7, -7]), 2).numpy()
array([ 3, -4])
""",
    "greater": """
>>> weft.greater(weft.asarray([1, 3]), 2).numpy()
array([False,  True])
""",
    "greater_equal": """
>>> weft.greater_equal(weft.asarray([1, 2]), 2).numpy()
array([False,  True])
""",
    "isfinite": """
>>> weft.isfinite(weft.asarray([1.0, float("inf"), float("nan")])).numpy()
array([ True, False, False])
""",
    "isinf": """
>>> weft.isinf(weft.asarray([1.0, float("inf")])).numpy()
array([False,  True])
""",
    "isnan": """
>>> weft.isnan(weft.asarray([1.0, float("nan")])).numpy()
array([False,  True])
""",
    "less": """
>>> weft.less(weft.asarray([1, 3]), 2).numpy()
array([ True, False])
""",
    "less_equal": """
>>> weft.less_equal(weft.asarray([1, 2]), 1).numpy()
array([ True, False])
""",
    "log": """
>>> weft.log(weft.asarray([1.0, 2.0])).numpy()
array([0.       , 0.6931472], dtype=float32)
""",
    "log10": """
>>> weft.log10(weft.asarray([1.0, 100.0])).numpy()
array([0.       , 2.0000002], dtype=float32)
""",
    "log1p": """
>>> weft.log1p(weft.asarray([0.0, 1e-7])).numpy()
array([0.0000000e+00, 9.9999994e-08], dtype=float32)
""",
    "log2": """
>>> weft.log2(weft.asarray([1.0, 8.0])).numpy()
array([0., 3.], dtype=float32)
""",
    "logical_and": """
>>> weft.logical_and(weft.asarray([True, True]), weft.asarray([True, False])).numpy()
array([ True, False])
""",
    "logical_not": """
>>> weft.logical_not(weft.asarray([True, False])).numpy()
array([False,  True])
""",
    "logical_or": """
>>> weft.logical_or(weft.asarray([True, False]), weft.asarray([False, False])).numpy()
array([ True, False])
""",
    "logical_xor": """
>>> weft.logical_xor(weft.asarray([True, True]), weft.asarray([True, False])).numpy()
array([False,  True])
""",
    "max": """
>>> weft.max(weft.asarray([[1.0, 3.0], [5.0, 2.0]]), axis=1).numpy()
array([3., 5.], dtype=float32)
""",
    "min": """
>>> weft.min(weft.asarray([[1.0, 3.0], [5.0, 2.0]]), axis=1).numpy()
array([1., 2.], dtype=float32)
""",
    "nextafter": """
>>> float(weft.nextafter(weft.asarray([1.0]), weft.asarray([2.0])).numpy()[0])
1.0000001192092896
""",
    "not_equal": """
>>> weft.not_equal(weft.asarray([1, 2]), weft.asarray([1, 3])).numpy()
array([False,  True])
""",
    "reciprocal": """
>>> weft.reciprocal(weft.asarray([2.0, 4.0])).numpy()
array([0.5 , 0.25], dtype=float32)
""",
    "round": """
>>> weft.round(weft.asarray([0.5, 1.5, 2.6])).numpy()
array([0., 2., 3.], dtype=float32)
""",
    "sigmoid": """
>>> weft.sigmoid(weft.asarray([0.0, 2.0])).numpy()
array([0.5     , 0.880797], dtype=float32)
""",
    "signbit": """
>>> weft.signbit(weft.asarray([-0.0, 1.0])).numpy()
array([ True, False])
""",
    "sin": """
>>> weft.sin(weft.asarray([0.0, 1.0])).numpy()
array([0.      , 0.841471], dtype=float32)
""",
    "sinh": """
>>> weft.sinh(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 1.1752012], dtype=float32)
""",
    "sqrt": """
>>> weft.sqrt(weft.asarray([4.0, 2.0])).numpy()
array([2.       , 1.4142135], dtype=float32)
""",
    "square": """
>>> weft.square(weft.asarray([3.0, -2.0])).numpy()
array([9., 4.], dtype=float32)
""",
    "tan": """
>>> weft.tan(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 1.5574077], dtype=float32)
""",
    "tanh": """
>>> weft.tanh(weft.asarray([0.0, 1.0])).numpy()
array([0.       , 0.7615942], dtype=float32)
""",
    "tril": """
>>> weft.tril(weft.ones((2, 2))).numpy()
array([[1., 0.],
       [1., 1.]], dtype=float32)
""",
    "triu": """
>>> weft.triu(weft.ones((2, 2))).numpy()
array([[1., 1.],
       [0., 1.]], dtype=float32)
""",
    "trunc": """
>>> weft.trunc(weft.asarray([-1.5, 1.5])).numpy()
array([-1.,  1.], dtype=float32)
""",
}
