"""How far a training has come is kept whole or not at all, and only the same training goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affetto.errors import TrainingError
from affetto.training.heads.unfinished import Snapshot, Unfinished

STATE = Snapshot({"a": torch.tensor([1.5, 2.0]), "b/c": torch.ones(2, 2)}, {"epoch": 3, "rates": [0.1]})


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / "row" / "state", "it", every_s=0)
    assert unfinished.load() is None
    unfinished.keep(lambda: STATE)
    found = Unfinished(tmp_path / "row" / "state", "it").load()
    assert found is not None
    assert found.facts == STATE.facts
    torch.testing.assert_close(found.numbers, STATE.numbers, rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "row").iterdir()] == ["state"]
    unfinished.forget()
    assert unfinished.load() is None


def test_only_the_same_training_goes_on(tmp_path: Path) -> None:
    Unfinished(tmp_path / "state", "it", every_s=0).keep(lambda: STATE)
    assert Unfinished(tmp_path / "state", "another").load() is None


def test_waits_for_its_time(tmp_path: Path) -> None:
    Unfinished(tmp_path / "state", "it", every_s=60).keep(lambda: pytest.fail("not due yet"))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("content", [b"", b"half", b"\xff" * 100, b"\x02" + b"\x00" * 7 + b"{}"])
def test_a_damaged_file_is_not_gone_on_from(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_bytes(content)
    assert Unfinished(tmp_path / "state", "it").load() is None
    assert caplog.messages or content.endswith(b"{}")


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "row").write_text("a file where a folder should be")
    with pytest.raises(TrainingError, match=r"cannot be written .*; make room; what is finished stays"):
        Unfinished(tmp_path / "row" / "state", "it", every_s=0).keep(lambda: STATE)
