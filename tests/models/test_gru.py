"""The layer against torch.nn.GRU: outputs and every gradient, for packed sequences of any lengths."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from affetto.models.gru import bidirectional_gru, from_the_end


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
def test_from_the_end_turns_each_sequence(lengths: list[int]) -> None:
    sequences = [torch.arange(10 * number, 10 * number + length) for number, length in enumerate(lengths)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    turned = pack_sequence([each.flip(0) for each in sequences], enforce_sorted=False)
    assert torch.equal(packed.data[from_the_end(packed.batch_sizes)], turned.data)


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
