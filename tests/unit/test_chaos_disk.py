"""The disk that `make chaos` fills."""

import os
from pathlib import Path
from typing import IO

import pytest

from tests.chaos.disk import SmallDisk


def write_on(file: IO[bytes], pages: int) -> None:
    for _ in range(pages):
        file.write(b"2" * 4096)


def test_a_full_disk_takes_neither_more_of_a_file_nor_a_new_one_until_it_has_room(
    tmp_path: Path,
) -> None:
    disk = SmallDisk.mounted(tmp_path / "data")
    if disk is None:  # mounting is for root, and not in every container
        assert list((tmp_path / "data").iterdir()) == []
        return
    try:
        before, after = disk.folder / "before", disk.folder / "after"
        before.write_bytes(b"1" * 100_000)
        disk.fill()
        for path in (before, after):
            with path.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
                write_on(file, 100)
        disk.empty()
        after.write_bytes(b"3" * 1_000_000)
    finally:
        disk.unmount()
    assert not os.path.ismount(disk.folder)
    assert after.stat().st_size == 1_000_000, "what it held is kept"
