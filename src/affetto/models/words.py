"""What was said, for heads to read beside the sound: the words that the recogniser writes, as layers of tokens.

"text" is made of the words alone, by the vocabulary of a decoder like Whisper's or by a text encoder; "decoder" is what
such a decoder was when it wrote each token, which knows the sound, too. In training, too, the words are those written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError
from affetto.frames import Frames, pad
from affetto.models.decoding import DecoderChoice, find_decoder
from affetto.models.encoders import locate
from affetto.models.encoders.encoder import TEXT, Encoder, LayerInfo, TextDecoder, Tokens
from affetto.models.encoders.text import TextEncoder
from affetto.recording import Spelling


class TranscriptConfig(Config):
    """How the words that a head reads come about."""

    # what reads them: a text encoder's folder, as transformers writes it, or its name on the hub; None takes the
    # vectors of the recogniser's own decoder, if it has such
    encoder: str | None = None
    language: str | None = None  # what is spoken, where the recogniser knows several; "auto" lets it find out


class Reading(NamedTuple):
    """What the utterances of a batch say."""

    spellings: list[Spelling]
    layers: dict[str, Frames]  # by name; of one without words, a single frame of zeros
    times_s: dict[str, list[tuple[float, ...]]]  # the middles of each layer's tokens, of each utterance


class WordReader(NamedTuple):
    """What writes an encoder's output as words, and what reads these; see `open_reader`."""

    decoder: TextDecoder
    encoder: TextEncoder | None

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Those that it has, a frame a token."""
        if self.encoder is None:
            return self.decoder.layers
        own = (layer for layer in self.decoder.layers if layer.name != TEXT)
        return (LayerInfo(TEXT, self.encoder.width, 0.0), *own)

    def fingerprint(self, layer: str) -> str:
        """A digest of all that a layer depends on beside the encoder's output."""
        read = [] if self.encoder is None or layer != TEXT else [self.encoder.fingerprint]
        return hashlib.sha256("-".join([self.decoder.fingerprint, *read]).encode()).hexdigest()[:16]

    @property
    def facts(self) -> dict[str, Any]:
        """What a head's description says of it, see `reopen_reader`."""
        facts: dict[str, Any] = {"decoder_fingerprint": self.decoder.fingerprint}
        if self.encoder is not None:
            facts |= {"encoder": str(self.encoder.origin), "encoder_fingerprint": self.encoder.fingerprint}
        return facts

    def to(self, device: torch.device | str) -> WordReader:
        """Itself on another device, where the output is."""
        return WordReader(self.decoder.to(device), None if self.encoder is None else self.encoder.to(device))

    @torch.inference_mode()
    def read(self, output: Frames | None, layers: Collection[str]) -> Reading:
        """What each utterance of a batch says, and the named layers of it, from an encoder's output."""
        written = self.decoder.write(output)
        spellings = [each.spelling for each in written]
        found: dict[str, Sequence[Tokens]] = {}
        for layer in layers:
            if layer == TEXT and self.encoder is not None:
                found[layer] = [self.encoder(spelling) for spelling in spellings]
            else:
                found[layer] = [each.layers[layer] for each in written]
        frames = {name: pad([_some(each.values) for each in tokens]) for name, tokens in found.items()}
        times_s = {name: [each.times_s for each in some] for name, some in found.items()}
        return Reading(spellings, frames, times_s)


def _some(values: Tensor) -> Tensor:
    return values if len(values) else values.new_zeros(1, values.shape[1])


def open_reader(encoder: Encoder, config: TranscriptConfig) -> WordReader:
    """What writes and reads words after an encoder, on its device.

    Raises:
        CheckpointError: the text encoder is missing, damaged or none, or the decoder is damaged.
        ConfigError: the recogniser cannot spell, does not know the language, or nothing reads its words.
        MissingExtraError: what the text encoder needs is not installed.
    """
    decoder = find_decoder(encoder, DecoderChoice(language=config.language))
    text = None if config.encoder is None else TextEncoder.open(*locate(config.encoder)).to(encoder.device)
    if text is None and not decoder.layers:
        remedy = 'name a text encoder: transcript = { encoder = "..." }'
        raise ConfigError("has no vectors of the words that it writes", remedy, encoder.origin)
    return WordReader(decoder, text)


def reopen_reader(encoder: Encoder, config: TranscriptConfig, facts: Mapping[str, Any], where: object) -> WordReader:
    """The same for a head that is kept in a file, of whose training `WordReader.facts` are known.

    Raises what `open_reader` does, and CheckpointError where words were written or read otherwise then.
    """
    reader = open_reader(encoder, config.model_copy(update={"encoder": facts.get("encoder", config.encoder)}))
    now = reader.facts
    if facts.get("decoder_fingerprint") != now["decoder_fingerprint"]:
        problem = "was trained on words that another decoder or language model wrote"
        raise CheckpointError(problem, "put the files there that the recogniser had then", where)
    if facts.get("encoder_fingerprint") != now.get("encoder_fingerprint"):
        problem = f"was trained over another text encoder than what is now {now.get('encoder')}"
        raise CheckpointError(problem, "put the one there that it was trained over", where)
    return reader
