"""The wiring: the Faust worker, and a folder or file for each command."""
