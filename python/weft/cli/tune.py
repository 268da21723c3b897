"""`weft tune M N K ...`: time the kernels of a matrix product on this machine's GPU, and keep the fastest for later."""

from __future__ import annotations

import argparse

DEVICE = "cuda:0"
DTYPES = ("float16", "bfloat16", "float32", "float64")


def arguments(parser: argparse.ArgumentParser) -> None:
    for size, text in (("m", "rows of the first factor"), ("n", "columns of the second"), ("k", "what they share")):
        parser.add_argument(size, type=int, metavar=size.upper(), help=text)
    parser.add_argument("--layout", choices=["NN", "NT", "TN", "TT"], help="which factors lie transposed; default: all")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--batch", type=int, default=1, help="products at a time")
    parser.add_argument("--tf32", action="store_true", help='as set_float32_matmul_precision("high")')


def run(options: argparse.Namespace) -> int:
    from weft.backends.gpu import gemm_choice, gemm_tune

    timer = gemm_tune.events()
    before = gemm_choice.get_float32_matmul_precision()
    gemm_choice.set_float32_matmul_precision("high" if options.tf32 else "highest")
    try:
        for layout in [options.layout] if options.layout else ["NN", "NT", "TN", "TT"]:
            m, n, k = options.m, options.n, options.k
            rows = gemm_tune.tune(m, n, k, layout, options.dtype, DEVICE, timer, batch=options.batch)
            print(f"{layout} {options.dtype} {m} x {n} x {k}")
            for kernel, seconds in rows:
                print(f"  {seconds * 1e6:10.1f} us  {kernel}")
    finally:
        gemm_choice.set_float32_matmul_precision(before)
    print(f"kept in {gemm_tune.path()}")
    return 0
