"""Ops of a user's own: CUDA kernels in C++ (`CudaKernel`). docs/kernels.md shows how to write them."""

from weft.custom.cuda_kernel import CudaKernel
