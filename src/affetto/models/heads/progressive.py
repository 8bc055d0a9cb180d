"""Progressive-x: averaged layers and the emotion branch, joined before the softmax (paper 3.1.4, figure 3d)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from affetto.features.acoustic import AcousticConfig
from affetto.frames import Statistic
from affetto.models.heads.branch import BranchConfig, branch_s
from affetto.models.heads.head import LayerConfig, Part
from affetto.models.heads.mean_pooling import Pooled


class ProgressiveConfig(LayerConfig):
    """The averages of one or several layers, the paper takes one, and the branch.

    Attributes:
        branch: GRU layers over acoustic features.
    """

    kind: Literal["progressive"] = "progressive"
    branch: BranchConfig = BranchConfig()

    @property
    def pooling(self) -> tuple[Statistic, ...]:
        """The mean."""
        return ("mean",)

    @property
    def acoustic(self) -> AcousticConfig:
        """The branch's."""
        return self.branch.acoustic

    @property
    def fold_s(self) -> float:
        """The branch's."""
        return branch_s(self.branch.units, self.branch.depth)

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The averages and the branch."""
        return {"pooled": Pooled(widths), "branch": self.branch.part()}
