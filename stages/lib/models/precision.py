"""The floating-point format that models compute in on this machine."""

import torch


def compute_dtype() -> torch.dtype:
    """Return bf16 on a GPU and on a CPU with AVX-512, else float32.

    Other CPUs emulate bf16: a matrix product takes about eight times as long as in float32
    (docs/hardware.md). Weights are saved in bf16 everywhere.
    """
    fast = torch.cuda.is_available() or torch.cpu._is_avx512_supported()
    return torch.bfloat16 if fast else torch.float32
