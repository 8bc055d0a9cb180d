"""Fine-tuning RNN-x: a new bidirectional GRU over one layer, averaged, into a softmax (paper 3.1.3, figure 3c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from affetto.models.heads.branch import Branch, branch_s
from affetto.models.heads.head import MAX_WIDTH, LayerConfig, Part


class RecurrentConfig(LayerConfig):
    """GRU layers over a layer's frames.

    Attributes:
        units: of each direction; the paper does not give it.
        depth: GRU layers.
        stride: average so many frames into one first; 1 keeps the layer's own rate, as the paper does.
    """

    kind: Literal["recurrent"] = "recurrent"
    layer: str
    units: int = Field(default=96, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=1, ge=1, le=64)
    stride: int = Field(default=1, ge=1, le=1_000)

    @property
    def layers(self) -> tuple[str, ...]:
        """The one."""
        return (self.layer,)

    @property
    def fold_s(self) -> float:
        """That of a branch."""
        return branch_s(self.units, self.depth)

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The GRU layers."""
        return {"branch": Branch(widths, self.units, self.depth, self.stride)}
