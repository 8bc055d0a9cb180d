"""Bidirectional GRU layers, averaged over time: the paper's emotion branch, and what RNN-x puts on a layer."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from affetto.config import Config
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames, thin
from affetto.models.gru import bidirectional_gru, gru_stack, pack, read_both_ways
from affetto.models.heads.head import ACOUSTIC, MAX_WIDTH, Part


class BranchConfig(Config):
    """The emotion branch.

    Attributes:
        units: of each direction.
        depth: GRU layers.
        acoustic: the features that it reads.
    """

    units: int = Field(default=96, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=2, ge=1, le=64)
    acoustic: AcousticConfig = AcousticConfig()

    def part(self) -> Branch:
        """A new branch."""
        return Branch({ACOUSTIC: self.acoustic.width}, self.units, self.depth)


def branch_s(units: int, depth: int) -> float:
    """Roughly how many seconds a fold of a head with such a branch takes."""
    return 200.0 * units * depth / (96 * 2)


class Branch(Part):
    """Bidirectional GRU layers over one input, averaged over each utterance's frames.

    Args:
        widths: name and width of the input.
        units: of each direction.
        depth: GRU layers.
        stride: average so many frames into one first.
    """

    def __init__(self, widths: Mapping[str, int], units: int, depth: int, stride: int = 1) -> None:
        super().__init__(widths, 2 * units)
        ((self.name, in_width),) = widths.items()
        self.stride = stride
        in_widths = [in_width] + [2 * units] * (depth - 1)
        self.layers = nn.ModuleList(nn.GRU(width, units, bidirectional=True) for width in in_widths)

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """The last layer's outputs, averaged."""
        frames = thin(given[self.name], self.stride)
        values = self.standardise(frames.values)
        packed = pack_padded_sequence(values, frames.lengths.cpu(), batch_first=True, enforce_sorted=False)
        for gru in self.layers:
            assert isinstance(gru, nn.GRU)
            packed = bidirectional_gru(gru, packed)
        outputs, _ = pad_packed_sequence(packed, batch_first=True)
        return Frames(outputs, frames.lengths).mean()

    def stacked(self, own: Mapping[str, Tensor], given: Mapping[str, Frames], chosen: Tensor) -> Tensor:
        """See `Part.stacked`; it is fastest with the longest utterances first."""
        frames = thin(given[self.name], self.stride)
        packing = pack(frames.lengths[chosen])
        rows = packing.both_ways(chosen[:, packing.sequences] * frames.values.shape[1] + packing.steps)
        values = frames.values.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, -1)
        for number in range(len(self.layers)):
            prefix = f"layers.{number}."
            parameters = {name.removeprefix(prefix): each for name, each in own.items() if name.startswith(prefix)}
            if number == 0:
                parameters |= _scaled(parameters, own["standardise.mean"], own["standardise.deviation"])
            else:
                values = read_both_ways(values, packing)
            values = gru_stack(parameters, values, packing)
        return packing.averages(values)


def _scaled(parameters: Mapping[str, Tensor], mean: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    """Input weights and biases that do to frames as they are what a GRU's own do to scaled ones, in fewer passes.

    W (x - mean) / deviation + b = (W / deviation) x + (b - W / deviation mean).
    """
    scaled: dict[str, Tensor] = {}
    for end in ("", "_reverse"):
        weight = parameters[f"weight_ih_l0{end}"] / deviation[:, None]
        shift = (weight @ mean[..., None])[..., 0]
        scaled |= {f"weight_ih_l0{end}": weight, f"bias_ih_l0{end}": parameters[f"bias_ih_l0{end}"] - shift}
    return scaled
