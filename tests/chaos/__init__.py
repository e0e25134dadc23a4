"""The account of what survives which fault: ``python -m tests.chaos``."""
