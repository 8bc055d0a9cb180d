"""Recognisers, and the language models that help them to spell, trained from recipes."""
