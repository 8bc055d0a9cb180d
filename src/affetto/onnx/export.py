"""A model as an ONNX graph, from the wave of a stretch of speech to characters and emotion, and one that finds speech.

A graph takes one stretch at a time, without padding. The networks' layers are traced; only the spectrum becomes a
convolution with the waves of a Fourier transform, at which runtimes are quick.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from affetto.audio import SAMPLE_RATE
from affetto.errors import ConfigError
from affetto.features.spectrogram import HOP_SAMPLES, WHISPER_WINDOW_SAMPLES, log_mel_of, whisper_spectrum
from affetto.frames import Frames, Statistic, pooled, weighted_statistics
from affetto.models.decoding import DecoderChoice
from affetto.models.deepspeech2 import RecurrentLayer
from affetto.models.heads import EmotionHead
from affetto.models.whisper_ctc import WhisperCtc
from affetto.onnx.description import DETECTOR, GRAPH, OnnxDescription, Precision
from affetto.recognise import EmotionRecogniser
from affetto.streaming.activity import FRAME
from affetto.streaming.detector import Memory, speech_detector

_OPSET = 17  # the first with layer normalisation
_TRACED_S = 2.0


class Stretch(nn.Module):
    """All that is computed of one stretch of speech, without batches, padding and windows."""

    def __init__(self, network: WhisperCtc, emotion: EmotionHead, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.emotion = emotion
        self.temperature = temperature
        impulses = torch.eye(WHISPER_WINDOW_SAMPLES, dtype=torch.float64)
        spectrum = whisper_spectrum(impulses, network.config.encoder.level)
        parts = torch.cat([spectrum.real, spectrum.imag], dim=1).T  # (2 x 201, 400)
        self.waves: Tensor = nn.Buffer(parts[:, None].float().contiguous())

    def forward(self, wave: Tensor, speech: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(samples,) and (2,) to log probabilities (frames, classes), emotions' probabilities and the distance."""
        layers = self._layers(self._log_mel(wave))
        highest = next(reversed(layers.values()))
        log_probs = self.network.spell(_whole(highest)).values[0]
        statistics: dict[str, Frames] = {}
        for name in self.emotion.layers:
            found = _over_speech(layers[name], speech, wave.shape[0])
            statistics |= {pooled(name, each): _whole(found[each][:, None]) for each in found}
        vectors = self.emotion.represent(statistics)
        probabilities = (self.emotion.output(vectors) / self.temperature).softmax(dim=-1)[0]
        known = self.emotion.familiarity
        return log_probs, probabilities, vectors.new_zeros(()) if known is None else known.distance(vectors)[0]

    def _log_mel(self, wave: Tensor) -> Tensor:
        around = functional.pad(wave[None, None], (WHISPER_WINDOW_SAMPLES // 2,) * 2, mode="reflect")
        parts = functional.conv1d(around, self.waves, stride=HOP_SAMPLES)[:, :, : wave.shape[0] // HOP_SAMPLES]
        real, imaginary = parts.square().transpose(1, 2).chunk(2, dim=-1)
        shape = self.network.config.encoder
        return log_mel_of(_whole(real + imaginary), shape.bins, shape.level).values

    def _layers(self, values: Tensor) -> dict[str, Tensor]:
        """The frames of every layer, from the lowest up, (1, time, width)."""
        network, encoder = self.network, self.network.encoder
        found = [encoder.convolve(_whole(values)).values]
        for block in encoder.blocks:
            found.append(block(found[-1], None))
        found[-1] = encoder.normalisation(found[-1])
        found.append(functional.gelu(network.pairs(found[-1].transpose(1, 2))).transpose(1, 2))
        for layer in network.recurrent:
            assert isinstance(layer, RecurrentLayer)
            both, _ = layer.gru(layer.normalisation(found[-1]).transpose(0, 1))
            found.append(layer.merged(both).transpose(0, 1))
        return {info.name: values for info, values in zip(network.layers, found, strict=True)}


def _whole(values: Tensor) -> Frames:
    """A sequence by itself, (1, time, width)."""
    return Frames(values, values.new_full((1,), values.shape[1], dtype=torch.int64))


def _over_speech(values: Tensor, speech: Tensor, samples: int) -> dict[Statistic, Tensor]:
    """Mean and deviation of the frames that `Waves.of_speech` leaves, (1, width) each."""
    time = values.shape[1]
    places = torch.arange(time)
    end = ((speech[1] * time + samples - 1) // samples).clamp(min=1)
    inside = ((places >= speech[0] * time // samples) & (places < end)).float()
    mean, deviation = weighted_statistics(values, (inside / inside.sum())[None])
    return {"mean": mean, "deviation": deviation}


def export_model(model: str | Path, folder: Path, precision: Precision = "float32") -> OnnxDescription:
    """Writes the graph and the description of a model, see `open_encoder`, into a folder, which is made if need be.

    In int8 the weights of the transformer layers are kept in a byte each, and what they are multiplied by is brought to
    a byte, too, as it comes: a smaller and faster graph that computes less exactly.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        ConfigError: it is of a kind that cannot be exported.
        ModuleNotFoundError: the extra ``onnx`` is not installed.
    """
    import onnx  # noqa: F401  # before any work: torch asks for it at the end
    from onnxruntime.quantization import QuantType, quantize_dynamic

    recogniser = EmotionRecogniser.from_pretrained(model, "cpu", DecoderChoice("greedy"), precision="float32")
    stretch = _stretch(recogniser)
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / GRAPH
    if precision == "float32":
        _trace(stretch, graph)
    else:
        with TemporaryDirectory() as drafts, _quiet():
            exact = Path(drafts) / GRAPH
            _trace(stretch, exact)
            names = _large_products(exact)
            quantize_dynamic(exact, graph, nodes_to_quantize=names, per_channel=True, weight_type=QuantType.QInt8)
    _trace_detector(folder / DETECTOR)
    description = _described(recogniser, precision)
    description.write(folder)
    return description


def _stretch(recogniser: EmotionRecogniser) -> Stretch:
    """What is traced; ConfigError if it cannot be."""
    network, emotion = recogniser.encoder.network, recogniser.emotion
    name = recogniser.encoder.origin.name
    if not isinstance(network, WhisperCtc):
        raise ConfigError("its recogniser is of a kind that cannot be exported", "name one like tiny", name)
    if not emotion.config.pooling or emotion.config.acoustic is not None:
        raise ConfigError(f"a head of kind {emotion.config.kind} cannot be exported", "name one of mean_pooling", name)
    if emotion.config.words is not None:
        raise ConfigError("a head that reads words cannot be exported", "name one that reads sound alone", name)
    return Stretch(network, emotion, recogniser.temperature).eval().requires_grad_(False)


def _described(recogniser: EmotionRecogniser, precision: Precision) -> OnnxDescription:
    encoder, known = recogniser.encoder, recogniser.emotion.familiarity
    assert encoder.alphabet is not None
    assert encoder.output_rate_hz is not None
    licences = [encoder.origin.licence, recogniser.facts.get("licence")]
    return OnnxDescription(
        model=str(encoder.origin),
        fingerprint=recogniser.fingerprint(),
        precision=precision,
        licence="; ".join(dict.fromkeys(str(each) for each in licences if each)),
        sample_rate_hz=SAMPLE_RATE,
        characters=encoder.alphabet.symbols,
        character_rate_hz=encoder.output_rate_hz,
        emotions=recogniser.emotions,
        temperature=recogniser.temperature,
        familiar_up_to=None if known is None else float(known.limit),
        speech_only=recogniser.speech_only,
    )


def _trace(stretch: Stretch, path: Path) -> None:
    samples = round(_TRACED_S * SAMPLE_RATE)
    given = (torch.linspace(0, 1000, samples).sin(), torch.tensor([0, samples]))
    inputs, outputs = ["wave", "speech"], ["log_probs", "probabilities", "distance"]
    axes = {"wave": {0: "samples"}, "log_probs": {0: "frames"}}
    _write(stretch, given, path, input_names=inputs, output_names=outputs, dynamic_axes=axes)


def _trace_detector(path: Path) -> None:
    """What finds speech, block by block: each of its states goes out as it has to come in with the next block."""
    detector = speech_detector()
    given = (torch.linspace(0, 1000, 3 * FRAME).sin().view(3, FRAME), detector.forget())
    inputs, outputs = ["frames", *Memory._fields], ["probabilities", *(f"next_{each}" for each in Memory._fields)]
    axes = {"frames": {0: "frames"}, "probabilities": {0: "frames"}}
    _write(detector, given, path, input_names=inputs, output_names=outputs, dynamic_axes=axes)


def _write(module: nn.Module, given: tuple[Any, ...], path: Path, **graph: Any) -> None:
    with _quiet(), torch.inference_mode():  # torch.export's graphs, dynamo's, cannot hold a GRU yet
        torch.onnx.export(module, given, path, opset_version=_OPSET, dynamo=False, **graph)


def _large_products(path: Path) -> list[str]:
    """The products with the weights of the transformer layers, by their names in a graph."""
    import onnx

    graph = onnx.load(path).graph
    weights = {each.name for each in graph.initializer}
    products = (each for each in graph.node if each.op_type == "MatMul" and each.input[1] in weights)
    return [each.name for each in products if "blocks" in each.name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of tracing, which the tests answer, and what onnxruntime says of quantisation."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)
