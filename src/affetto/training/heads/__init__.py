"""Emotion heads, fitted fold by fold or all folds of a row together."""
