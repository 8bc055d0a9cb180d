"""Stacked GRU layers against PyTorch's, one by one: outputs and gradients, whatever is padded."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from affetto.models.gru import from_the_end
from affetto.models.gru_stack import gru_stack, pack, side_by_side

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

    packing = pack(lengths)
    rows = inputs[:, packing.steps, packing.sequences]
    both = torch.cat([rows, torch.stack([own[turned] for own, turned in zip(rows, packing.turned, strict=True)])])
    outputs = side_by_side(gru_stack(stacked, both, packing), packing)
    outputs = outputs * packing.real[..., None]
    (outputs * wanted[:, packing.steps, packing.sequences]).sum().backward()  # type: ignore[no-untyped-call]
    found, d_inputs = torch.zeros_like(wanted), inputs.grad
    found[:, packing.steps, packing.sequences] = outputs.detach()
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
    packing = pack(torch.full((1, BATCH), TIME))
    gru_stack(stacked, torch.randn(2, TIME * BATCH, IN_WIDTH), packing).sum().backward()  # type: ignore[no-untyped-call]
    assert all(values.grad is not None and values.grad.any() for values in stacked.values())


@pytest.mark.parametrize("lengths", [[7, 7, 7], [7, 6, 3, 1]])
def test_frames_are_packed_as_pytorch_packs_them(lengths: list[int]) -> None:
    packing, theirs = pack(torch.tensor([lengths])), pack_padded_sequence(torch.ones(7, len(lengths)), lengths)
    assert packing.sizes == theirs.batch_sizes.tolist()
    assert packing.real.all()
    assert packing.turned.tolist() == [from_the_end(theirs.batch_sizes).tolist()]


def test_averages_are_over_a_sequences_own_frames() -> None:
    generator = torch.Generator().manual_seed(2)
    frames = torch.randn(2, TIME, BATCH, WIDTH, generator=generator).requires_grad_()
    lengths = torch.tensor(LENGTHS["some shorter"])
    packing = pack(lengths)
    forwards = frames[:, packing.steps, packing.sequences]
    averages = packing.averages(torch.cat([forwards, -forwards]))
    weights = torch.randn(averages.shape, generator=generator)
    (found,) = torch.autograd.grad((averages * weights).sum(), frames)

    mask = (torch.arange(TIME)[None, :, None] < lengths[:, None])[..., None]
    means = (frames * mask).sum(dim=1) / lengths[..., None]
    expected = torch.cat([means, -means], dim=-1)
    torch.testing.assert_close(averages, expected)
    torch.testing.assert_close(found, torch.autograd.grad((expected * weights).sum(), frames)[0])
