"""Simulated platforms, as records and as counts, each with its truth."""
