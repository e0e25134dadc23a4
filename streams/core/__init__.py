"""The mathematics: no IO, no clock, no environment, no unseeded randomness."""
