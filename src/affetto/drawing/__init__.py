"""Figures and pages: one style, drawn by matplotlib and filled in by Jinja2."""
