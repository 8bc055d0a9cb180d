"""One layer and several at once against torch.nn.GRU: outputs and every gradient, for sequences of any lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from affetto.models.gru import bidirectional_gru, gru_stack, pack, side_by_side


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**16))
def test_outputs_and_gradients_are_torchs(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    gru = nn.GRU(4, 3, bidirectional=True).double()
    sequences = [torch.randn(length, 4, dtype=torch.float64, requires_grad=True) for length in lengths]
    packed = pack_sequence(sequences, enforce_sorted=False)
    ours, theirs = bidirectional_gru(gru, packed).data, gru(packed)[0].data
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    wanted = [*sequences, *gru.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(ours, wanted, upstream, retain_graph=True), torch.autograd.grad(theirs, wanted, upstream)
    )


def test_without_gradients_it_is_torchs_layer() -> None:
    gru = nn.GRU(4, 3, bidirectional=True)
    packed = pack_sequence([torch.ones(3, 4)])
    with torch.no_grad():
        assert torch.equal(bidirectional_gru(gru, packed).data, gru(packed)[0].data)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_frames_are_packed_as_torch_packs_them_and_turned(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    sequences = [torch.arange(10 * number, 10 * number + length) for number, length in enumerate(lengths)]
    packed, turned = pack_sequence(sequences), pack_sequence([each.flip(0) for each in sequences])
    packing = pack(torch.tensor([lengths]))
    assert packing.sizes == packed.batch_sizes.tolist()
    assert packing.real.all()
    assert torch.equal(packed.data[packing.turned[0]], turned.data)


def test_under_autocast_it_is_close_and_its_states_are_float32() -> None:
    """bfloat16 has 8 bits of precision: products are off by a share of 1/256 or so."""
    torch.manual_seed(1)
    gru = nn.GRU(40, 32, bidirectional=True)
    packed = pack_sequence([torch.randn(length, 40) for length in (60, 41, 12)])
    exact = bidirectional_gru(gru, packed).data
    wanted = torch.autograd.grad(exact.square().sum(), list(gru.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = bidirectional_gru(gru, packed).data
    found = torch.autograd.grad(coarse.square().sum(), list(gru.parameters()))
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, exact, atol=0.03, rtol=0)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.03 * theirs.norm()


TIME, BATCH, IN_WIDTH, WIDTH = 7, 5, 4, 3
LENGTHS = {
    "all of one length": [[7] * 5, [7] * 5],
    "some shorter": [[7, 3, 7, 1, 5], [2, 7, 7, 7, 6]],
    "none as long as the padding": [[3, 3, 2, 1, 3], [4, 4, 4, 4, 4]],
}


@pytest.mark.parametrize("case", LENGTHS)
def test_several_layers_at_once_are_torchs_one_by_one(case: str) -> None:
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
