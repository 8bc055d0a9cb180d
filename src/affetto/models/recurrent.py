"""The bidirectional GRU layer of our recognisers, over packed sequences."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from affetto.frames import Frames
from affetto.models.gru import bidirectional_gru


class RecurrentLayer(nn.Module):
    """Normalisation, a bidirectional GRU and the joining of its directions.

    Args:
        in_width: of its input.
        width: units of each direction.
        summed: whether the directions are added (width) or concatenated (2 x width).
        dropout: share of its outputs dropped in training.
        normalisation: of its input; None leaves it as it is.
    """

    def __init__(
        self, in_width: int, width: int, *, summed: bool, dropout: float, normalisation: nn.Module | None
    ) -> None:
        super().__init__()
        self.normalisation = normalisation or nn.Identity()
        self.gru = nn.GRU(in_width, width, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.summed = summed
        self.width = width if summed else 2 * width

    def forward(self, inputs: PackedSequence) -> PackedSequence:
        """Data (frames, in_width) to (frames, width)."""
        outputs = bidirectional_gru(self.gru, inputs._replace(data=self.normalisation(inputs.data)))
        data = outputs.data
        if self.summed:
            forwards, backwards = data.chunk(2, dim=-1)
            data = forwards + backwards
        return outputs._replace(data=self.dropout(data))


def pack(frames: Frames) -> PackedSequence:
    """Real frames only, time step by time step."""
    return pack_padded_sequence(frames.values, frames.lengths.cpu(), batch_first=True, enforce_sorted=False)


def unpack(packed: PackedSequence, lengths: Tensor) -> Frames:
    """The opposite of `pack`, with the lengths that it was given.

    >>> import torch
    >>> frames = Frames(torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]]), torch.tensor([2, 1]))
    >>> bool((unpack(pack(frames), frames.lengths).values == frames.values).all())
    True
    """
    values, _ = pad_packed_sequence(packed, batch_first=True)
    return Frames(values, lengths)
