"""Hears emotion in speech by reusing what a speech recogniser already learnt."""
