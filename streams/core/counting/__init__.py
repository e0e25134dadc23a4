"""Counts of keys in buckets, and how they are packed, marked and let go."""
