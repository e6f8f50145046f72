"""AdamW on 32-bit copies."""

import torch

from stages.lib.training.optim import MasterAdamW


def steps_of(optimizer: torch.optim.Optimizer, param: torch.Tensor, count: int) -> None:
    for number in range(count):
        param.grad = torch.full_like(param, 0.1 * (number + 1))
        optimizer.step()


def test_on_32_bit_parameters_it_is_adamw() -> None:
    param, expected = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    steps_of(MasterAdamW([param], lr=0.01, weight_decay=0.1), param, 5)
    steps_of(torch.optim.AdamW([expected], lr=0.01, weight_decay=0.1), expected, 5)
    torch.testing.assert_close(param, expected)


def test_steps_too_small_for_bf16_add_up() -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    steps_of(MasterAdamW([param], lr=1e-3, weight_decay=0.0), param, 20)
    # Adam moves by about lr a step; one such step is below bf16's resolution at 1.
    torch.testing.assert_close(param.float(), torch.full((3,), 0.98), rtol=0, atol=4e-3)


def test_a_saved_state_is_loaded_without_rounding() -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    first = MasterAdamW([param], lr=1e-3)
    steps_of(first, param, 3)
    second = MasterAdamW([param], lr=1e-3)
    second.load_state_dict(first.state_dict())
    for name, value in first.state[param].items():
        assert second.state[param][name].dtype == torch.float32
        assert torch.equal(second.state[param][name], value)
