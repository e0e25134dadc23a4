"""The long-running worker."""
