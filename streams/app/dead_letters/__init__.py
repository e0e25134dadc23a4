"""The commands ``surgewatch dead-letters``."""
