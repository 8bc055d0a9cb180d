"""Two processes that train together end where one with their batches joined would."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training.conftest import RECIPE

from affetto.models.network import load_recogniser
from affetto.training.recogniser.recipe import RecogniserRecipe
from affetto.training.recogniser.speech import gather

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
PYTHON = ["-m"]


def _train(recipe: Path, data: Path, folder: Path, *options: str, by: list[str] = PYTHON) -> Path:
    """In processes of their own, as from a shell."""
    done = subprocess.run(
        [sys.executable, *by, "affetto", "asr", "train", recipe, "--data", data, "--output", folder, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("recogniser.safetensors") == 1
    return folder / "recogniser.safetensors"


def _log(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.glob("csv/*/metrics.csv")
    return [row for row in csv.DictReader(path.open()) if row.get("cer")]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Number of processes -> a recipe whose batches of all processes together are of the same size.

    At twice this rate, some processors' rounding grows five thousandfold in the last two epochs.
    """
    folder = tmp_path_factory.mktemp("recipes")
    more = "warmup_steps = 3\nvalidation_utterances = 7\noptimiser = 'sgd'\nlearning_rate = 0.01\n"
    text = RECIPE.format(epochs=3).replace('optimiser = "adamw"\nlearning_rate = 0.01\n', more)
    for ranks in (1, 2):
        (folder / f"{ranks}.toml").write_text(text.replace("batch_size = 4", f"batch_size = {4 // ranks}"))
    return {ranks: folder / f"{ranks}.toml" for ranks in (1, 2)}


@pytest.fixture(scope="module")
def alone(recipes: dict[int, Path], tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one process's training."""
    folder = tmp_path_factory.mktemp("run") / "alone"
    _train(recipes[1], tones, folder, "--devices", "1")
    return folder


@pytest.mark.parametrize(("options", "by"), [(("--devices", "2"), PYTHON), ((), TORCHRUN)], ids=["devices", "torchrun"])
def test_two_processes_end_as_one_would(
    tones: Path, tmp_path: Path, recipes: dict[int, Path], alone: Path, options: tuple[str, ...], by: list[str]
) -> None:
    together = tmp_path / "together"
    found, _ = load_recogniser(_train(recipes[2], tones, together, *options, by=by))
    expected, _ = load_recogniser(alone / "recogniser.safetensors")
    for (name, ours), theirs in zip(found.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-3, msg=lambda text, name=name: f"{name}: {text}")
    for mine, others in zip(_log(together), _log(alone), strict=True):
        assert float(mine["validated"]) == float(others["validated"]) == 7  # an odd number, each counted once
        assert float(mine["cer"]) == pytest.approx(float(others["cer"]), abs=0.02)
        assert float(mine["validation_loss"]) == pytest.approx(float(others["validation_loss"]), rel=1e-3)
    steps = -(-len(gather(RecogniserRecipe.read(recipes[1]), tones).training) // 4)
    assert torch.load(together / "checkpoints" / "last.ckpt", weights_only=False)["global_step"] == 3 * steps


def test_two_processes_train_a_first_recipe_and_the_next(
    tones: Path, tmp_path: Path, recipes: dict[int, Path], alone: Path
) -> None:
    """The second changes next to nothing, so that what one process ended with is what both end with."""
    recipe = tmp_path / "later.toml"
    text = recipes[2].read_text().replace("0.01", "1e-12").replace("epochs = 3", "epochs = 1")
    recipe.write_text(f'first = "{recipes[2]}"\n{text}')
    found, _ = load_recogniser(_train(recipe, tones, tmp_path / "run", "--devices", "2"))
    expected, _ = load_recogniser(alone / "recogniser.safetensors")
    for (name, ours), theirs in zip(found.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-3, msg=lambda text, name=name: f"{name}: {text}")
