"""Fits recognisers and emotion heads."""
