"""The wiring: one file a command, and the Faust worker."""
