"""Functions of float32 that LLVM can turn into vector code, because they call nothing and choose without branches: the
polynomials of csrc/cpu/simd.inc and map.inc. Numba's own call the C library once per element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F, I = np.float32, np.int32
INFINITY, NAN = F(np.inf), F(np.nan)


@intrinsic  # type: ignore[untyped-decorator]
def float_of(context: Any, bits: Any) -> Any:
    """The float32 of 32 bits."""
    return types.float32(types.int32), lambda c, builder, s, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(context: Any, x: Any) -> Any:
    """The bits of a float32."""
    return types.int32(types.float32), lambda c, builder, s, args: builder.bitcast(args[0], ir.IntType(32))


def inlined(function: Any) -> Any:
    return njit(fastmath={"contract"}, error_model="numpy", forceinline=True)(function)


@inlined
def exp(x):  # type: ignore[no-untyped-def]
    """exp(x), 1 ulp: x = n ln 2 + r, a polynomial in r, n added to the exponent; results below 2^-126 are 0."""
    t = x * F(1.44269504) + F(12582912.0)  # 1.5 * 2^23: rounds to an integer and leaves it in the low bits
    n = t - F(12582912.0)
    r = x - n * F(0.693359375) + n * F(2.12194440e-4)
    p = F(1.38146116e-3) * r + F(8.36871006e-3)
    p = p * r + F(4.16683890e-2)
    p = p * r + F(1.66665211e-1)
    p = p * r + F(4.99999940e-1)
    p = p * (r * r) + r + F(1.0)
    y = float_of(I(bits_of(p) + I(bits_of(t) << I(23))))
    y = F(0.0) if x < F(-87.3365448) else y
    return y if x <= F(88.7228394) else x + INFINITY


@inlined
def log(x):  # type: ignore[no-untyped-def]
    """log(x), 1 ulp: x = 2^n (1 + f) with 1 + f in [sqrt 1/2, sqrt 2), a polynomial in f."""
    tiny = x < F(1.17549435e-38)
    bits = bits_of(x * F(8388608.0) if tiny else x)
    n = I(I(bits - I(0x3F3504F3)) >> I(23))
    f = float_of(I(bits - I(n << I(23)))) - F(1.0)
    z = f * f
    e = F(n) - F(23.0) if tiny else F(n)
    p = F(6.74664155e-2) * f - F(1.16756573e-1)
    p = p * f + F(1.18881650e-1)
    p = p * f - F(1.24055885e-1)
    p = p * f + F(1.42195523e-1)
    p = p * f - F(1.66679963e-1)
    p = p * f + F(2.00021192e-1)
    p = p * f - F(2.50000089e-1)
    p = p * f + F(3.33333135e-1)
    y = f + (e * F(-2.12194440e-4) + (p * f * z - F(0.5) * z)) + e * F(0.693359375)
    below = NAN if x < F(0.0) else -INFINITY
    y = below if x <= F(0.0) else y
    return y if x < INFINITY else x


@inlined
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh(x), 2 ulp: an odd polynomial near 0, else 1 - 2 / (exp(2 |x|) + 1) with the sign of x."""
    a = abs(x)
    z = x * x
    p = F(-5.70498500e-3) * z + F(2.06390861e-2)
    p = p * z - F(5.37397154e-2)
    p = p * z + F(1.33314416e-1)
    p = p * z - F(3.33332807e-1)
    p = p * z * x + x
    q = F(1.0) - F(2.0) / (exp(F(2.0) * a) + F(1.0))
    q = -q if x < F(0.0) else q
    return p if a < F(0.625) else q


@inlined
def erf(x):  # type: ignore[no-untyped-def]
    """erf(x), 7 ulp: x P(x^2) / Q(x^2) fitted on |x| < 3.93, where erf rounds to 1; exactly 1 beyond."""
    c = F(-3.93) if x < F(-3.93) else x
    c = F(3.93) if c > F(3.93) else c
    z = c * c
    p = F(2.04197431e-6) * z + F(2.84808106e-4)
    p = p * z + F(3.77958850e-3)
    p = p * z + F(5.27902246e-2)
    p = p * z + F(1.90783352e-1)
    p = p * z + F(1.12837911)
    q = F(3.80040838e-5) * z + F(1.16520759e-3)
    q = q * z + F(1.49973966e-2)
    q = q * z + F(1.14257328e-1)
    q = q * z + F(5.02410054e-1)
    q = q * z + F(1.0)
    y = c * p / q
    y = F(1.0) if y > F(1.0) else y
    y = F(1.0) if x >= F(3.93) else y
    y = F(-1.0) if y < F(-1.0) else y
    return F(-1.0) if x <= F(-3.93) else y
