"""Lines of the log: their words, their form, how often."""
