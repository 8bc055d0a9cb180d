"""Anything whose hidden layers can be reused, behind one contract (`affetto.models.encoders.encoder.Encoder`)."""

from __future__ import annotations

from affetto.registry import Registry

ENCODERS = Registry("encoders", {"deepspeech2": "affetto.models.encoders.deepspeech2:DeepSpeech2Encoder"})
"""Every encoder's class; ``tests/models/test_encoders.py`` holds each to the contract."""
