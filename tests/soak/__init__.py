"""A worker under load for hours: is it flat, does it keep up, is everything counted? Not a test."""
