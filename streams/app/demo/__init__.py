"""The command ``surgewatch demo``."""
