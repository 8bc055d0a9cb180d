"""Stacked GRU layers against PyTorch's, one by one: outputs and gradients, whatever is padded."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from affetto.models.gru_stack import gru_stack

TIME, BATCH, IN_WIDTH, WIDTH = 7, 5, 4, 3
LENGTHS = {
    "all of one length": [[7] * 5, [7] * 5],
    "some shorter": [[7, 3, 7, 1, 5], [2, 7, 7, 7, 6]],
    "none as long as the padding": [[3, 3, 2, 1, 3], [4, 4, 4, 4, 4]],
}


@pytest.mark.parametrize("case", LENGTHS)
def test_outputs_and_gradients_are_pytorchs(case: str) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        grus = [nn.GRU(IN_WIDTH, WIDTH, bidirectional=True) for _ in range(2)]
    stacked = {
        name: torch.stack([gru.state_dict()[name] for gru in grus]).requires_grad_() for name in grus[0].state_dict()
    }
    inputs = torch.randn(2, TIME, BATCH, IN_WIDTH, generator=generator).requires_grad_()
    lengths = torch.tensor(LENGTHS[case])
    mask = torch.arange(TIME)[None, :, None] < lengths[:, None]
    wanted = torch.randn(2, TIME, BATCH, 2 * WIDTH, generator=generator) * mask[..., None]

    outputs = gru_stack(stacked, inputs, mask)
    (outputs * wanted).sum().backward()  # type: ignore[no-untyped-call]
    found, d_inputs = outputs.detach() * mask[..., None], inputs.grad
    inputs.grad = None
    for place, gru in enumerate(grus):
        packed = pack_padded_sequence(inputs[place], lengths[place], enforce_sorted=False)
        theirs, _ = pad_packed_sequence(gru(packed)[0], total_length=TIME)
        (theirs * wanted[place]).sum().backward()
        torch.testing.assert_close(found[place], theirs.detach(), atol=1e-6, rtol=1e-5)
        for name, parameter in gru.named_parameters():
            gradient = stacked[name].grad
            assert gradient is not None
            torch.testing.assert_close(gradient[place], parameter.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(d_inputs, inputs.grad, atol=1e-5, rtol=1e-4)


def test_an_input_that_needs_no_gradient() -> None:
    gru = nn.GRU(IN_WIDTH, WIDTH, bidirectional=True)
    stacked = {name: values[None].clone().requires_grad_() for name, values in gru.state_dict().items()}
    mask = torch.ones(1, TIME, BATCH, dtype=torch.bool)
    gru_stack(stacked, torch.randn(1, TIME, BATCH, IN_WIDTH), mask).sum().backward()  # type: ignore[no-untyped-call]
    assert all(values.grad is not None and values.grad.any() for values in stacked.values())
