"""Every name of the standard is there, and takes what the standard says it takes."""

from __future__ import annotations

import inspect

import pytest

import weft
from standard.strict import strict

EMPTY = inspect.Parameter.empty
FUNCTIONS = {
    "creation": """arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril
        triu zeros zeros_like""",
    "data types": "astype can_cast finfo iinfo isdtype result_type",
    "elementwise": """abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift
        bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor
        floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log10 log1p log2
        logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal
        positive pow real reciprocal remainder round sign signbit sin sinh sqrt square subtract tan tanh trunc""",
    "indexing": "take take_along_axis",
    "inspection": "__array_namespace_info__",
    "linear algebra": "matmul matrix_transpose tensordot vecdot",
    "manipulation": """broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll
        squeeze stack tile unstack""",
    "searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "sets": "unique_all unique_counts unique_inverse unique_values",
    "sorting": "argsort sort",
    "statistical": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "utility": "all any diff",
}
NAMES = sorted(name for names in FUNCTIONS.values() for name in names.split())
EXTENSIONS = {
    "linalg": """cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank
        matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm""",
    "fft": "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift",
}
METHODS = """__abs__ __add__ __and__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__ __eq__
    __float__ __floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__ __lshift__ __lt__ __matmul__
    __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __rshift__ __setitem__ __sub__ __truediv__ __xor__
    to_device""".split()
REFLECTED = "add and floordiv lshift matmul mod mul or pow rshift sub truediv xor".split()


def check_signature(ours, theirs, name):
    """Names, kinds and defaults. What may be given by position only may be given by name too; more may follow."""
    mine = {p.name: p for p in inspect.signature(ours).parameters.values()}
    asked = list(inspect.signature(theirs).parameters.values())
    if name == "to_device":  # the reference takes `stream` by position, where the standard's text does not
        asked = [p.replace(kind=p.KEYWORD_ONLY) if p.name == "stream" else p for p in asked]
    for place, p in enumerate(asked):
        if p.kind is p.KEYWORD_ONLY:
            assert p.name in mine, f"{name}: no keyword {p.name}"
            found = mine[p.name]
            assert found.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD), f"{name}: {p.name} is {found.kind}"
        else:
            assert place < len(mine), f"{name}: no argument {p.name}"
            found = list(mine.values())[place]
            allowed = (p.kind, p.POSITIONAL_OR_KEYWORD) if p.kind is p.POSITIONAL_ONLY else (p.kind,)
            assert found.kind in allowed, f"{name}: {p.name} is {found.kind}, the standard says {p.kind}"
            if p.kind is not p.POSITIONAL_ONLY:
                assert found.name == p.name, f"{name}: {found.name}, the standard says {p.name}"
        if "UNDEF" not in str(p.default).upper():
            optional = (found.default is not EMPTY, p.default is not EMPTY)
            assert optional in ((True, True), (False, False), (True, False)), f"{name}: {p.name} has no default"
            if optional == (True, True):
                assert found.default == p.default, f"{name}: {p.name}={found.default}, the standard says {p.default}"
    for p in mine.values():
        if p.name not in {a.name for a in asked} and p.kind is p.KEYWORD_ONLY:
            assert p.default is not EMPTY, f"{name}: {p.name} of Weft's own has no default"


def test_the_list_is_the_standards():
    """The names above are those of the reference, so that none was forgotten."""
    others = {"Device", "e", "inf", "nan", "newaxis", "pi", "__array_api_version__", *EXTENSIONS}
    dtypes = {name for name in strict.__all__ if hasattr(getattr(strict, name), "_np_dtype")}
    own = {name for name in strict.__all__ if "flags" in name.lower()}
    newer = {"broadcast_shapes", "isin"}  # of 2025.12
    assert set(NAMES) == set(strict.__all__) - others - dtypes - own - newer - {"__version__"}


@pytest.mark.parametrize("name", NAMES)
def test_functions(name):
    check_signature(getattr(weft, name), getattr(strict, name), name)


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    array = strict.asarray([1.0])
    check_signature(getattr(weft.ones((1,)), name), getattr(array, name), name)


@pytest.mark.parametrize("name", REFLECTED)
def test_reflected_and_in_place_operators(name):
    for method in (f"__r{name}__", f"__i{name}__"):
        check_signature(getattr(weft.ones((1,)), method), getattr(strict.asarray([1.0]), method), method)


@pytest.mark.parametrize("extension, name", [(e, n) for e, names in EXTENSIONS.items() for n in names.split()])
def test_extensions(extension, name):
    check_signature(getattr(getattr(weft, extension), name), getattr(getattr(strict, extension), name), name)


def test_constants_and_attributes():
    import math

    assert (weft.e, weft.pi, weft.inf) == (math.e, math.pi, math.inf) and math.isnan(weft.nan) and weft.newaxis is None
    assert weft.__array_api_version__ == "2024.12"
    x = weft.ones((2, 3))
    assert (x.dtype, x.ndim, x.shape, x.size, x.device) == (weft.float32, 2, (2, 3), 6, "cpu")
    assert x.T.shape == x.mT.shape == (3, 2)
    for wrong in (weft.ones((2,)), weft.ones((2, 3, 4))):
        with pytest.raises(ValueError, match="T: expected two axes"):
            wrong.T  # noqa: B018
    with pytest.raises(ValueError, match="matrix_transpose: expected at least two axes"):
        weft.ones((2,)).mT  # noqa: B018


def test_the_namespace_of_an_array():
    x = weft.ones(())
    assert x.__array_namespace__() is weft is x.__array_namespace__(api_version="2022.12")
    with pytest.raises(ValueError, match="expected a version of 2021.12.*got '1999.12'"):
        x.__array_namespace__(api_version="1999.12")


def test_what_the_namespace_says_of_itself():
    info = weft.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() in info.devices() and "cpu" in info.devices()
    wanted = {"bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))}
    wanted |= {"float32", "float64", "complex64", "complex128"}
    assert set(info.dtypes(device="cpu")) == wanted
    assert set(info.dtypes(device="cpu", kind=("bool", "complex floating"))) == {"bool", "complex64", "complex128"}
    for device in info.devices():
        assert set(info.default_dtypes(device=device)) == {"real floating", "complex floating", "integral", "indexing"}
        for name, dtype in info.dtypes(device=device, kind="numeric").items():
            x = weft.zeros((1,), dtype=dtype, device=device)
            assert (x.dtype.name, x.device) == (name, device)
    defaults = info.default_dtypes()
    found = {"real floating": weft.asarray(1.0), "complex floating": weft.asarray(1j), "integral": weft.asarray(1)}
    assert {kind: x.dtype for kind, x in found.items()} | {"indexing": weft.argmax(weft.ones(2)).dtype} == defaults
    with pytest.raises(ValueError, match="device: expected one of"):
        info.dtypes(device="tpu")
