"""Chunks of records: as fetched, as decoded, in which order, each once."""
