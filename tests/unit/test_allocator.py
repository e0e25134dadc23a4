"""The C library keeps the memory that was freed, or says that it cannot."""

import os
import subprocess
import sys

_CODE = """
import resource, sys
import numpy as np
from streams.edges.process.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() is True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def chunk():
    return [np.ones(150_000) for _ in range(6)]
for _ in range(3):
    chunk()
before = faults()
for _ in range(20):
    chunk()
print(faults() - before)
"""

_SPARE = """
import numpy as np
from streams.edges.process.allocator import allocated_bytes, give_back_spare, keep_freed_memory
def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith("VmRSS"))
keep_freed_memory()
held = [np.ones(50_000) for _ in range(800)]  # 320 MB
assert give_back_spare() == 0
in_use = allocated_bytes()
assert 320e6 < in_use < 400e6, in_use
del held[::2]
assert 155e6 < in_use - allocated_bytes() < 165e6
before = resident_mb()
spare = give_back_spare()
assert 140e6 < spare < 200e6, spare
print(before - resident_mb())
"""


def test_holes_that_grown_columns_left_are_given_back() -> None:
    command = [sys.executable, "-c", _SPARE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100


def page_faults(way: str) -> int:
    """Pages that twenty times six arrays of 1.2 MB, freed together, had the kernel clear."""
    environ = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    command = [sys.executable, "-c", _CODE, way]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_chunks_arrays_are_laid_into_the_same_pages_again() -> None:
    assert page_faults("keep") < page_faults("leave") / 10
