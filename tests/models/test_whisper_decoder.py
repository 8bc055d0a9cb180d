"""Whisper's decoder against transformers' one; tokens one by one or together, in any batch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.models.tiny_encoders import save, with_config
from torch import Tensor

from affetto.errors import CheckpointError
from affetto.frames import Frames, pad
from affetto.models.whisper_decoder import WhisperDecoder, load_whisper_decoder

REAL = [Path(os.environ.get("AFFETTO_WHISPER", "")) / name for name in ("whisper-tiny.en", "whisper-base")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("whisper", tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def decoder(folder: Path) -> WhisperDecoder:
    return load_whisper_decoder(folder)


def _states(frames: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(frames, width, generator=torch.Generator().manual_seed(seed))


def _compare(folder: Path, tokens: list[int]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    ours = load_whisper_decoder(folder)
    states = _states(1500, ours.config.width)[None]
    asked = torch.tensor([tokens])
    with torch.no_grad():
        found = theirs(encoder_outputs=(states,), decoder_input_ids=asked, output_attentions=True)
        scores, attended, _ = ours(asked, ours.begin(Frames(states, torch.tensor([1500]))))
    torch.testing.assert_close(scores, found.logits, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(attended, torch.stack(found.cross_attentions), atol=1e-4, rtol=1e-4)


def test_it_is_transformers_decoder(folder: Path) -> None:
    _compare(folder, [3, 1, 4, 1, 5])


@pytest.mark.parametrize("folder", REAL, ids=lambda path: path.name)
def test_the_published_ones_are_transformers(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        pytest.skip(f"no {folder.name} in the folder that AFFETTO_WHISPER names")
    _compare(folder, [50_257, 50_362, 383, 3797])


def test_tokens_read_one_by_one_are_as_those_read_together(decoder: WhisperDecoder) -> None:
    tokens = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    states = pad([_states(30, 16), _states(30, 16, 1)])
    with torch.no_grad():
        scores, attended, progress = decoder(tokens[:, :2], decoder.begin(states))
        for place in range(2, 5):
            more, looks, progress = decoder(tokens[:, place : place + 1], progress)
            scores, attended = torch.cat([scores, more], dim=1), torch.cat([attended, looks], dim=3)
        together = decoder(tokens, decoder.begin(states))
    torch.testing.assert_close((scores, attended), together[:2], atol=1e-5, rtol=1e-4)


def test_batch_mates_and_padding_change_nothing(decoder: WhisperDecoder) -> None:
    tokens = torch.tensor([[3, 1], [9, 2], [6, 5]])
    rows = [_states(frames, 16, frames) for frames in (30, 1, 12)]
    batch = pad(rows)
    longer = Frames(torch.nn.functional.pad(batch.values, (0, 0, 0, 9)), batch.lengths)
    with torch.no_grad():
        scores, attended, progress = decoder(tokens, decoder.begin(longer))
        kept = torch.tensor([2])
        after, _, _ = decoder(tokens[kept, :1], progress.rows(kept))
        for place, row in enumerate(rows):
            alone, looks, progress = decoder(tokens[place : place + 1], decoder.begin(pad([row])))
            torch.testing.assert_close(scores[place], alone[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(attended[:, place, :, :, : len(row)], looks[:, 0], atol=1e-5, rtol=1e-4)
            assert not attended[:, place, :, :, len(row) :].any()
        torch.testing.assert_close(after, decoder(tokens[kept, :1], progress)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "changes", [{"decoder_layers": 3}, {"d_model": 15}, {"vocab_size": 99}, {"decoder_ffn_dim": "many"}], ids=str
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CheckpointError):
        load_whisper_decoder(with_config(folder, tmp_path / "model", **changes))
