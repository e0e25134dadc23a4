"""Asks the C library to keep the memory that was freed, for the next chunk, but not all of it.

By default glibc maps each large array afresh and gives it back at once; the kernel then clears
the same pages again for every chunk (measured: a fifth of the time of decoding one). What is kept
lies between what is used: columns that grow leave holes behind, as large as themselves.
"""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1  # names of <malloc.h>: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_MAPPED_BYTES: Final = 32 * 2**20
"""Larger blocks are mapped by themselves and given back: the most that glibc allows."""
_KEPT_BYTES: Final = 64 * 2**20
_SPARE_BYTES: Final = 96 * 2**20
"""More than the arrays of a chunk and of the writes beside it take."""


def keep_freed_memory() -> bool:
    """Keep up to 64 MiB at the end of the heap; False where the C library knows no such thing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    asked = (
        (_MMAP_THRESHOLD, _MAPPED_BYTES),
        (_TRIM_THRESHOLD, _KEPT_BYTES),
        (_TOP_PAD, _MAPPED_BYTES // 4),
    )
    return all(mallopt(name, value) == 1 for name, value in asked)


class _Heap(ctypes.Structure):
    """What ``mallinfo2`` of <malloc.h> tells, in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks"),
            *("fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated_bytes() -> int:
    """Memory in use of what the C library gave out; 0 where it cannot tell.

    What was freed and is kept is not in it, nor are small Python objects, which have arenas of
    their own.
    """
    heap = _heap()
    return 0 if heap is None else int(heap.uordblks) + int(heap.hblkhd)


def _heap() -> _Heap | None:
    try:
        tell = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return None
    tell.restype = _Heap
    found: _Heap = tell()
    return found


def give_back_spare(kept_bytes: int = _SPARE_BYTES) -> int:
    """Give freed memory back where more than so much of it is kept; how much that was, in bytes.

    0 where the C library cannot tell. Takes some milliseconds; the pages are cleared when they are
    used again.
    """
    heap = _heap()
    if heap is None or (spare := int(heap.fordblks)) <= kept_bytes:
        return 0
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
    return spare
