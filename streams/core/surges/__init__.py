"""Surges: when one opens, grows and closes, and its record."""
