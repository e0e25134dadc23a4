"""``make detection``: what the detector finds, on real and simulated series. Not a test.

A new part is one module with ``run() -> Part`` (``run(size) -> Part`` for worlds) and
one line in `parts.PARTS`; what it measures gets its floor in `rows.ROWS`.
"""
