"""`weft bench gemm` and `weft bench --history`: what the kernels reach on this machine, beside the vendor's.

facts: what was measured on. timing: calls in turns, medians and spread. gemm: matrix products. report: tables, JSON,
the roofline. history: earlier reports, drawn, and what became slower since.
"""
