"""The layer against torch.nn.GRU: outputs and every gradient, for packed sequences of any lengths."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from affetto.models.gru import bidirectional_gru


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
