"""The limit of memory is the smallest of our control group and those above it."""

from pathlib import Path

import pytest

from streams.edges.process.memory_limit import memory_limit_bytes


def write(root: Path, place: str, text: str) -> None:
    file = root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/pod/worker", {"pod/worker/memory.max": "max", "pod/memory.max": "4096"}, 4096),
        ("0::/pod/worker", {"pod/worker/memory.max": "1024", "pod/memory.max": "4096"}, 1024),
        ("0::/", {"memory.max": "2048"}, 2048),
        ("0::/elsewhere/deep", {"memory.max": "2048"}, 2048),
        ("0::/", {"memory.max": "max"}, 0),
        ("0::/", {}, 0),
        ("4:memory:/one\n0::/", {"memory/one/memory.limit_in_bytes": "512"}, 512),
        ("4:cpu,memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 0),
        ("4:cpu:/\n", {"memory/memory.limit_in_bytes": "512"}, 0),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int
) -> None:
    own = tmp_path / "cgroup"
    own.write_text(groups)
    for place, text in files.items():
        write(tmp_path / "root", place, text)
    assert memory_limit_bytes(tmp_path / "root", own) == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path, tmp_path / "none") == 0
