"""Anything whose hidden layers can be reused, behind one contract."""
