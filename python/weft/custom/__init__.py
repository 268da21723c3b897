"""Ops of a user's own: scalar functions (`elementwise`) and CUDA kernels (`CudaKernel`). docs/kernels.md shows both."""

from weft.custom.cuda_kernel import CudaKernel
from weft.custom.scalar_op import elementwise
