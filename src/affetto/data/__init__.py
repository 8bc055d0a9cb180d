"""Utterances, and everything that turns a corpus into batches of them."""
