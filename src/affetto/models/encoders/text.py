"""Text encoders, read and computed by transformers: what was said as vectors of its tokens."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import torch

from affetto.errors import CheckpointError
from affetto.models import checkpoint, transformers_folder
from affetto.models.encoders.encoder import Origin, Tokens
from affetto.models.encoders.loading import load_network, load_tokenizer, settings
from affetto.recording import Spelling

_EXAMPLE = "sentence-transformers/all-MiniLM-L6-v2"


class TextEncoder:
    """The last states of a text encoder for the tokens of a text, without those that mark its beginning and end.

    Texts are encoded one by one, so that none depends on others; of one that is too long, the end is left out.
    """

    def __init__(self, model: Any, tokenizer: Any, origin: Origin) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._rules = tokenizer.backend_tokenizer.to_str()  # as it was read: to use it changes it
        self.origin = origin

    @classmethod
    def open(cls, folder: Path, origin: Origin) -> Self:
        """Reads a folder as transformers writes it, CheckpointError if it is no text encoder; see `load_network`."""
        kind = transformers_folder.read_config(folder).get("model_type")
        transformers_folder.weight_files(folder)
        model = load_network(folder, "AutoModel")
        if model.main_input_name != "input_ids" or model.config.is_encoder_decoder:
            raise CheckpointError(f"is of the kind {kind!r}, no text encoder", f"name one like {_EXAMPLE}", origin)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # it reads what is left out
        tokenizer = load_tokenizer(folder)
        if not tokenizer.is_fast:
            raise CheckpointError("does not say where its tokens lie", "name one with tokenizer.json", folder)
        return cls(model, tokenizer, origin._replace(licence=transformers_folder.licence(folder)))

    @property
    def width(self) -> int:
        """Of each vector."""
        return int(self.model.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of all that the vectors depend on beside the text."""
        return checkpoint.fingerprint(self.model, {"config": settings(self.model), "tokenizer": self._rules})

    def to(self, device: torch.device | str) -> Self:
        """Moves the model."""
        self.model.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, spelling: Spelling) -> Tokens:
        """The tokens of one text, (tokens, width); each has the time of its word."""
        if not spelling.words:
            return Tokens(torch.zeros(0, self.width, device=self.model.device), ())
        longest = min(self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 10**9))
        read = self.tokenizer(
            spelling.text, truncation=True, max_length=longest, return_special_tokens_mask=True,
            return_offsets_mapping=True, return_tensors="pt",
        )  # fmt: skip
        ends = list(accumulate(len(word.text) + 1 for word in spelling.words))  # of each word and the space after it
        places = [place for place, special in enumerate(read.pop("special_tokens_mask")[0].tolist()) if not special]
        offsets = read.pop("offset_mapping")[0].tolist()
        words = [spelling.words[bisect_right(ends, offsets[place][1] - 1)] for place in places]
        states = self.model(**read.to(self.model.device)).last_hidden_state[0, places]
        return Tokens(states, tuple((word.start_s + word.end_s) / 2 for word in words))
