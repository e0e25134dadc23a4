"""The command ``surgewatch doctor``."""
