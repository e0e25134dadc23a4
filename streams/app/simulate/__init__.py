"""The command ``surgewatch simulate``."""
