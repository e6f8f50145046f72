"""The engine: its kernels for CPUs, and texts that depend on their own request alone."""

from typing import TYPE_CHECKING

import pytest
import torch

from stages.lib.generations.requests import Request, Sampling

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

pytestmark = pytest.mark.xdist_group("engines")


def test_norms_run_in_the_kernels_for_cpus() -> None:
    from vllm import ir
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("vLLM's build for CUDA has none of these kernels")
    from stages.lib.inference.cpu_kernels import PRIORITY

    current_platform.import_kernels()
    x, residual = torch.randn(2, 5, 64, generator=torch.manual_seed(0)).bfloat16().unbind()
    weight = torch.rand(64).bfloat16()
    (provider,) = PRIORITY["rms_norm"]
    for name, tensors in (("rms_norm", (x,)), ("fused_add_rms_norm", (x, residual))):
        operation = getattr(ir.ops, name)
        expected = operation.impls["native"].impl_fn(*tensors, weight, 1e-5)
        # Copies: the kernel may write into its input.
        copies = [tensor.clone() for tensor in tensors]
        result = operation.impls[provider].impl_fn(*copies, weight, 1e-5)
        torch.testing.assert_close(result, expected, rtol=2e-2, atol=2e-2)


def test_a_text_does_not_depend_on_the_other_requests(tiny_engine: "Engine") -> None:
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=3)
    requests = [Request("p", "cot", 0, index, (5, 6, 7 + index % 3), 8) for index in range(12)]
    together, backwards = (
        tiny_engine.generate(batch, sampling, lambda _: None)
        for batch in (requests, requests[::-1])
    )
    assert together == backwards[::-1]
    assert together[4:6] == tiny_engine.generate(requests[4:6], sampling, lambda _: None)
    assert len({generated.text for generated in together}) == 12
