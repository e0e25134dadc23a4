"""The command ``surgewatch surges``."""
