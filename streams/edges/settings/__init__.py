"""Settings: the list, where they come from, and which can change in a running worker."""
