"""The commands ``surgewatch state``."""
