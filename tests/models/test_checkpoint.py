"""Saved models: whatever is wrong with the files ends in a CheckpointError, and nothing in them is ever run."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from affetto.errors import CheckpointError
from affetto.frames import pad_waves
from affetto.models import checkpoint
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.heads import load_head
from affetto.models.network import load_recogniser, save_recogniser

SHAPE = ConvolutionConfig(channels=2, kernel=(21, 5), stride=(8, 4))
CONFIG = DeepSpeech2Config(convolutions=(SHAPE,), width=3, depth=2, symbols=" ab")


def _model() -> DeepSpeech2:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DeepSpeech2(CONFIG).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "recogniser.safetensors"
    save_recogniser(path, _model(), {"licence": "CC0"})
    return path


def _edit(path: Path, **changes: Any) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def _retensor(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Changes the tensors and has the card describe the changed file."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    _edit(path, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_to_disk_and_back_exactly(saved: Path) -> None:
    loaded, description = load_recogniser(saved)
    model = _model()
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    waves = pad_waves([torch.randn(4000, generator=torch.Generator().manual_seed(1))])
    with torch.no_grad():
        assert torch.equal(loaded(waves).log_probs.values, model(waves).log_probs.values)
    assert (loaded.config, loaded.training, description.facts) == (CONFIG, False, {"licence": "CC0"})
    assert all(each.requires_grad for each in loaded.parameters())
    assert checkpoint.fingerprint(loaded) == checkpoint.fingerprint(model)


def test_half_the_space_within_half_the_precision(saved: Path, tmp_path: Path) -> None:
    model = _model()
    save_recogniser(tmp_path / "half.safetensors", model, {}, precision="float16")
    loaded, _ = load_recogniser(tmp_path / "half.safetensors")
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=2**-11, atol=1e-7)
    stored = load_file(tmp_path / "half.safetensors")
    assert {name: tensor.dtype for name, tensor in stored.items() if tensor.is_floating_point()} == {
        name: torch.float16 if tensor.dim() > 1 else torch.float32
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


@pytest.mark.parametrize("shape", [(2, 33), (2, 100), (2, 5, 13), (4, 1000)])
def test_parts_of_rows_have_steps_of_their_own(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path, values = tmp_path / "a.safetensors", torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values.view(len(values), -1)[:, 0] *= 1000  # an outlier costs its neighbours alone their precision
    checkpoint.save(path, {"w": values}, checkpoint.Description(kind="none", config={}), precision="int8")
    again = checkpoint.load_weights(path, checkpoint.describe(path, "none"))["w"]
    far = (again - values).view(len(values), -1)[:, 32:]
    assert again.shape == shape
    assert (far.abs() <= values.view(len(values), -1)[:, 32:].abs().amax() / 200).all()
    assert load_file(path)["w:factors"].shape == (shape[0], -(-math.prod(shape[1:]) // 32))


def test_files_with_a_factor_for_each_row_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.ones(2, 40)}, checkpoint.Description(kind="none", config={}))
    old = {"w": torch.full((2, 40), 127, dtype=torch.int8), "w:factors": torch.tensor([1 / 127, 2 / 127])}
    save_file(old, path)
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    again = checkpoint.load_weights(path, checkpoint.describe(path, "none"))["w"]
    torch.testing.assert_close(again, torch.tensor([[1.0], [2.0]]).expand(2, 40))


def test_delicate_parts_keep_more(tmp_path: Path) -> None:
    path, card = tmp_path / "a.safetensors", checkpoint.Description(kind="none", config={})
    checkpoint.save(path, {"a.w": torch.eye(3), "b.w": torch.eye(3)}, card, precision="int8", delicate=("b.",))
    assert {name: each.dtype for name, each in load_file(path).items()} == {
        "a.w": torch.int8,
        "a.w:factors": torch.bfloat16,
        "b.w": torch.float16,
    }


def test_a_quarter_of_the_space_within_half_a_step_of_each_row(tmp_path: Path) -> None:
    model = _model()
    save_recogniser(tmp_path / "small.safetensors", model, {}, precision="int8")
    loaded, _ = load_recogniser(tmp_path / "small.safetensors")
    stored = load_file(tmp_path / "small.safetensors")
    for name, tensor in model.state_dict().items():
        if tensor.dim() < 2 or not tensor.is_floating_point():
            assert torch.equal(loaded.state_dict()[name], tensor)
            continue
        assert stored[name].dtype == torch.int8
        rows, again = tensor.flatten(1), loaded.state_dict()[name].flatten(1)
        assert ((again - rows).abs() <= rows.abs().amax(1, keepdim=True) / 253).all()


def test_rows_of_zeros_stay_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.zeros(2, 3)}, checkpoint.Description(kind="none", config={}), precision="int8")
    assert not checkpoint.load_weights(path, checkpoint.describe(path, "none"))["w"].any()


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    before = torch.get_rng_state()
    load_recogniser(saved)
    assert torch.equal(torch.get_rng_state(), before)


def _remove_card(path: Path) -> None:
    path.with_suffix(".json").unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _cut_card(path: Path) -> None:
    card = path.with_suffix(".json")
    card.write_bytes(card.read_bytes()[:-9])


def _card(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.with_suffix(".json").write_bytes(content)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights cut short": (_cut, "cannot be loaded"),
    "header cut short": (_cut_header, "cannot be loaded"),
    "weights missing": (lambda path: path.unlink(), "cannot be loaded"),
    "weights are a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be loaded"),
    "no card": (_remove_card, "cannot be read .*with its .json beside it"),
    "card cut short": (_cut_card, "is not JSON"),
    "card in no UTF-8": (_card(b'{"format": "\xff"}'), "is not JSON"),
    "card nested too deep": (_card(b"[" * 100_000), "is not JSON"),
    "card with too long a number": (_card(b'{"format": ' + b"1" * 5000 + b"}"), "is not JSON"),
    "foreign card": (_card(b'{"model_type": "wav2vec2"}'), "was not written by affetto"),
    "card is a list": (_card(b"[]"), "was not written by affetto"),
    "other version": (lambda path: _edit(path, version=99), "version 99.*reads version 1; install the affetto"),
    "other kind": (
        lambda path: _edit(path, kind="emotion head"),
        "is of kind 'emotion head'; name a model of kind 'recogniser'",
    ),
    "unknown key": (lambda path: _edit(path, spare=1), "is damaged .*spare"),
    "shape of another network": (lambda path: _edit(path, config={"layers": 12}), "describes no recogniser.*layers"),
    "another width": (lambda path: _edit(path, config={**_shape(path), "width": 4}), "does not fit its description"),
    "a width that no memory holds": (
        lambda path: _edit(path, config={**_shape(path), "width": 65_536, "depth": 64}),
        "does not fit its description",
    ),
    "tensor missing": (
        lambda path: _retensor(path, lambda tensors: tensors.pop("output.bias")),
        "does not fit its description.*output.bias",
    ),
    "tensor too many": (
        lambda path: _retensor(path, lambda tensors: tensors.update(spare=torch.ones(1))),
        "does not fit its description.*spare",
    ),
    "tensor of whole numbers": (
        lambda path: _retensor(path, lambda tensors: tensors.update({"output.bias": torch.ones(4, dtype=torch.int64)})),
        "does not fit its description",
    ),
}


def _shape(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())["config"]
    return config


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_files_are_refused(saved: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(saved)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_recogniser(saved)
    assert str(saved.with_suffix("")) in str(caught.value)


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_run(saved: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    bait = pickle.dumps(_Trap(sprung))
    pickle.loads(bait)  # noqa: S301 - the trap works
    assert sprung.exists()
    sprung.unlink()
    saved.write_bytes(bait)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_recogniser(saved)
    torch.save({"output.bias": _Trap(sprung)}, saved)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_recogniser(saved)
    assert not sprung.exists()


def test_a_write_that_fails_leaves_the_old_one_whole(saved: Path) -> None:
    other = _model()
    torch.nn.init.zeros_(other.output.weight)
    with pytest.raises(TypeError):
        save_recogniser(saved, other, {"licence": object()})
    loaded, description = load_recogniser(saved)
    assert description.facts == {"licence": "CC0"}
    assert checkpoint.fingerprint(loaded) == checkpoint.fingerprint(_model())
    assert sorted(each.name for each in saved.parent.iterdir()) == ["recogniser.json", "recogniser.safetensors"]


@pytest.mark.parametrize("second", ["write_bytes", "write_text"])
def test_a_write_that_breaks_off_between_its_files_leaves_the_old_one_whole(
    saved: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    other, before = _model(), sorted(saved.parent.iterdir())
    torch.nn.init.zeros_(other.output.weight)
    with monkeypatch.context() as patch:
        patch.setattr(Path, second, full)  # the draft of one file can be written, the other's cannot
        with pytest.raises(OSError, match="No space left"):
            save_recogniser(saved, other, {})
    assert sorted(saved.parent.iterdir()) == before
    loaded, _ = load_recogniser(saved)
    assert checkpoint.fingerprint(loaded) == checkpoint.fingerprint(_model())


def test_weights_beside_the_card_of_others_are_refused(saved: Path, tmp_path: Path) -> None:
    other = _model()
    torch.nn.init.zeros_(other.output.weight)
    save_recogniser(tmp_path / "other.safetensors", other, {})
    (tmp_path / "other.safetensors").replace(saved)  # all that a crash between the two files leaves done
    with pytest.raises(CheckpointError, match="holds other weights than the"):
        load_recogniser(saved)


def test_a_card_without_a_digest_is_refused(saved: Path) -> None:
    _edit(saved, weights_sha256=None)
    with pytest.raises(CheckpointError, match="holds other weights than the"):
        load_recogniser(saved)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "recogniser.safetensors"
    save_recogniser(path, _model(), {"licence": "CC0"})
    shutil.copy(path.with_suffix(".json"), path.with_suffix(".card"))
    return path


def _loads_or_says_why(path: Path, load: Callable[[Path], object]) -> None:
    with suppress(CheckpointError):  # any other exception fails the test
        load(path)


@given(key=st.sampled_from(["version", "kind", "config", "facts", "format", "weights_sha256"]), value=JSON)
@with_settings(max_examples=60)
def test_any_value_in_the_card_loads_or_is_refused(original: Path, key: str, value: Any) -> None:
    card = json.loads(original.with_suffix(".card").read_text())
    original.with_suffix(".json").write_text(json.dumps({**card, key: value}))
    _loads_or_says_why(original, load_recogniser)


@given(key=st.sampled_from(sorted(DeepSpeech2Config.model_fields)), value=JSON | st.integers(-5, 10**6))
@with_settings(max_examples=60)
def test_any_value_in_the_shape_loads_or_is_refused(original: Path, key: str, value: Any) -> None:
    card = json.loads(original.with_suffix(".card").read_text())
    card["config"][key] = value
    original.with_suffix(".json").write_text(json.dumps(card))
    _loads_or_says_why(original, load_recogniser)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(original: Path, content: bytes) -> None:
    original.with_suffix(".json").write_bytes(content)
    with pytest.raises(CheckpointError):
        load_recogniser(original)


@given(key=st.sampled_from(["head", "classes", "layer_width"]), value=JSON | st.integers(-5, 10**6))
@with_settings(max_examples=60)
def test_any_value_in_the_shape_of_a_head_loads_or_is_refused(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "head" / "emotion.safetensors"
    if not path.exists():
        path.parent.mkdir()
        shutil.copy(tiny_model / "emotion.safetensors", path)
    card = json.loads((tiny_model / "emotion.json").read_text())
    card["config"][key] = value
    path.with_suffix(".json").write_text(json.dumps(card))
    _loads_or_says_why(path, load_head)
