"""How unusual a count is: expectation, evidence, tail; one key at a time and in blocks."""
