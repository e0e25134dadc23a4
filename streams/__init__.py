"""Surgewatch: says within seconds which creator, post or platform is surging."""

__version__ = "0.1.0"
