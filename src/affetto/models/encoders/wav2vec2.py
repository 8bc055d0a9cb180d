"""wav2vec 2.0 and what is built like it (HuBERT, WavLM, UniSpeech), read and computed by transformers.

Where the first convolution is normalised over time ("group", as in wav2vec2-base), padding would change every number,
so the convolutions take one recording at a time; the transformer runs on batches, with masks.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Collection, Mapping
from functools import cached_property
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from affetto.audio import SAMPLE_RATE
from affetto.errors import CheckpointError
from affetto.frames import Frames, Waves, pad
from affetto.models import checkpoint, transformers_folder
from affetto.models.encoders.encoder import Encoding, LayerInfo, ModuleEncoder, Origin, check_layers
from affetto.models.encoders.loading import load_network, settings
from affetto.text import Alphabet

_FRONT = "conv"
_SPECIAL = re.compile(r"<.*>|\[.*\]")


class _Enough(Exception):  # noqa: N818
    """Ends a forward pass once the highest layer that is wanted is there."""


class Wav2Vec2(ModuleEncoder):
    """The layers of a model like wav2vec 2.0, and the characters if it has a CTC head with a vocabulary of such.

    Its layers are "conv", what the convolutions give, and "layer1", "layer2" and so on, as in transformers'
    ``hidden_states``: the last comes after the final normalisation where there is one. Recordings that are
    ``normalised`` are brought to mean 0 and variance 1 first.
    """

    network = None

    def __init__(
        self, model: Any, origin: Origin, *, normalised: bool, vocabulary: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(model, origin)
        self.model = model
        self._normalised = normalised
        config = model.config
        self._depth: int = config.num_hidden_layers
        rate_hz = SAMPLE_RATE / math.prod(config.conv_stride)
        above = (LayerInfo(f"layer{number + 1}", config.hidden_size, rate_hz) for number in range(self._depth))
        self.layers = (LayerInfo(_FRONT, config.conv_dim[-1], rate_hz), *above)
        adapted = getattr(config, "add_adapter", False)  # one would change the rate
        if vocabulary and not adapted and (symbols := _symbols(vocabulary, config.pad_token_id)):
            self.alphabet, self.output_rate_hz = Alphabet("".join(symbols)), rate_hz
            self._classes = [config.pad_token_id, *symbols.values()]  # of the head's, those of the alphabet

    @classmethod
    def open(cls, folder: Path, origin: Origin) -> Self:
        """Reads a model's folder, CheckpointError if a file is missing or damaged; see `load_network`."""
        transformers_folder.weight_files(folder)
        config = transformers_folder.read_config(folder)
        with_head = any(str(name).endswith("ForCTC") for name in config.get("architectures") or ())
        model = load_network(folder, "AutoModelForCTC" if with_head else "AutoModel")
        sound = transformers_folder.read_if_there(folder / "preprocessor_config.json")
        vocabulary = transformers_folder.read_if_there(folder / "vocab.json") if with_head else {}
        if vocabulary and not all(number in range(model.config.vocab_size) for number in vocabulary.values()):
            problem = f"names a class {max(vocabulary.values())}, and the head has {model.config.vocab_size}"
            raise CheckpointError(problem, transformers_folder.AGAIN, folder / "vocab.json")
        origin = origin._replace(licence=transformers_folder.licence(folder))
        return cls(model, origin, normalised=bool(sound.get("do_normalize", True)), vocabulary=vocabulary)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all numbers, and of the settings that they are computed with."""
        return checkpoint.fingerprint(self.model, {"config": settings(self.model), "normalised": self._normalised})

    @torch.inference_mode()
    def encode(self, waves: Waves, layers: Collection[str]) -> Encoding:
        """The named layers, and log probabilities of characters if there are any."""
        if self.alphabet is None:
            return Encoding(self.represent(waves, layers), None)
        check_layers(self.layers, layers)
        last = self.layers[-1].name
        found = self._run(waves, {*layers, last})
        states = found[last] if last in layers else found.pop(last)
        scores = self.model.lm_head(states.values)[..., self._classes].log_softmax(dim=-1)
        return Encoding(found, Frames(scores, states.lengths).zero_padding())

    @torch.inference_mode()
    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        """The named layers' frames."""
        check_layers(self.layers, layers)
        return self._run(waves, layers)

    def _run(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        front = self._convolve(waves.to(self.device))
        found = {_FRONT: front} if _FRONT in names else {}
        wanted = [number for number in range(self._depth) if f"layer{number + 1}" in names]
        states = self._climb(front, wanted) if wanted else {}
        return found | {f"layer{number + 1}": states[number] for number in wanted}

    def _convolve(self, waves: Waves) -> Frames:
        """(batch, samples) to (batch, time, width), each recording by itself."""
        config = self.model.config
        steps = accumulate([1, *config.conv_stride[:-1]], mul)  # samples between what each convolution reads
        shortest = 1 + sum((size - 1) * step for size, step in zip(config.conv_kernel, steps, strict=True))
        rows = []
        for wave, length in zip(waves.values, waves.lengths.tolist(), strict=True):
            sound = wave[:length]
            if self._normalised:
                sound = (sound - sound.mean()) / (sound.var(correction=0) + 1e-7).sqrt()
            sound = nn.functional.pad(sound, (0, max(shortest - length, 0)))
            rows.append(self.model.base_model.feature_extractor(sound[None])[0].T)
        return pad(rows).to(self.device)

    def _climb(self, front: Frames, wanted: list[int]) -> dict[int, Frames]:
        """What the transformer layers of these numbers, from 0, give."""
        encoder, top = self.model.base_model.encoder, self._depth - 1
        states: dict[int, Tensor] = {}

        def keep(number: int, output: Tensor | tuple[Tensor, ...]) -> None:
            states[number] = output[0] if isinstance(output, tuple) else output
            if number == max(wanted) != top:
                raise _Enough

        projected = self.model.base_model.feature_projection(front.values)
        inputs = projected[0] if isinstance(projected, tuple) else projected
        hooks = [
            encoder.layers[number].register_forward_hook(lambda _, __, output, number=number: keep(number, output))
            for number in wanted
        ]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")  # WavLM's two masks
                states[top] = encoder(inputs, attention_mask=front.mask).last_hidden_state
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return {number: Frames(values, front.lengths).zero_padding() for number, values in states.items()}


def _symbols(vocabulary: Mapping[str, int], blank: int) -> dict[str, int]:
    """The characters of a vocabulary, in lower case and sorted, and their classes; none if its tokens are other things.

    >>> _symbols({"<pad>": 0, "|": 1, "B": 3, "A": 2}, 0)
    {' ': 1, 'a': 2, 'b': 3}
    """
    spelt = {token: number for token, number in vocabulary.items() if number != blank and not _SPECIAL.fullmatch(token)}
    symbols = {token.replace("|", " ").lower(): number for token, number in spelt.items()}
    fits = len(symbols) == len(spelt) and all(len(symbol) == 1 for symbol in symbols)
    return dict(sorted(symbols.items())) if fits else {}
