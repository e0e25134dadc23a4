"""A back-test of several processes: the same as of one, and it ends when one of them does."""

import multiprocessing
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streams.app.backtest import processes, run
from streams.app.backtest.counting import FileTask
from streams.app.backtest.processes import ProcessEnded, counted_apart
from streams.app.backtest.run import Backtest
from streams.app.cli import main
from streams.core.records.chunks import DeadRecord
from streams.edges.files.records import FileBroken, FileMissing, RecordFile
from streams.edges.settings.reading import Settings
from tests.wave_rows import records

SETTINGS = Settings(topic_partitions=4, rule_followers_24h=200)
OTHER = Settings(topic_partitions=3, rule_followers_24h=300, topic_follows="elsewhere")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wave over all partitions, with a line that is none in the middle."""
    path = tmp_path_factory.mktemp("apart") / "follows.ndjson"
    lines = [value for *_, value in records()]
    lines.insert(len(lines) // 2, b"not json")
    path.write_bytes(b"\n".join(lines))
    return path


def backtested(path: Path, count: int | None) -> tuple[Backtest, list[DeadRecord]]:
    dead: list[DeadRecord] = []
    backtest = Backtest(SETTINGS, dead.extend, 20_000, OTHER, count)
    shown: list[int] = []
    with RecordFile(path, "follows") as file:
        backtest.take(file, lambda: shown.append(backtest.read_bytes))
        assert backtest.read_bytes == file.size_bytes
    assert len(shown) > 3
    assert shown == sorted(shown)
    return backtest, dead


def test_it_makes_no_difference_how_many_processes_count(path: Path) -> None:
    alone, dead = backtested(path, 1)
    assert alone.other is not None
    assert len(dead) == 1
    assert {"wave", "followers"} <= {one.kind for one in alone.result.surges()}
    assert alone.other.surges() != alone.result.surges()
    for count in (2, 3, 50):
        apart, buried = backtested(path, count)
        assert buried == dead
        for here, there in ((alone.result, apart.result), (alone.other, apart.other)):
            assert there is not None
            assert there.surges() == here.surges()
            for name in ("records", "creators", "counted", "late", "repeated", "dead"):
                assert getattr(there, name) == getattr(here, name)
            assert (there.first_ms, there.last_ms) == (here.first_ms, here.last_ms)
            assert there.audiences == here.audiences


def test_without_a_number_a_large_file_has_one_for_each_processor(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def noted(path: Path, task: FileTask, count: int) -> Generator[Any, None, None]:
        counts.append(count)
        return counted_apart(path, task, count)

    monkeypatch.setattr(run, "counted_apart", noted)
    monkeypatch.setattr(run, "processors", lambda: 2)
    backtested(path, None)
    assert counts == []
    monkeypatch.setattr(run, "_LARGE_BYTES", path.stat().st_size)
    backtested(path, None)
    assert counts == [2]
    assert processes.processors() >= 1


def test_a_file_that_breaks_off_is_told_as_ever(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "follows.ndjson"
    broken.write_bytes(path.read_bytes()[:200_000] + b"\n" + b"x" * (17 * 2**20))
    with RecordFile(broken, "follows") as file:
        backtest = Backtest(SETTINGS, lambda dead: None, 1000, None, 2)
        with pytest.raises(FileBroken, match="longer than"):
            backtest.take(file)


def test_a_file_that_is_gone_meanwhile_is_told(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "follows.ndjson"
    copy.write_bytes(path.read_bytes())
    with RecordFile(copy, "follows") as file:
        copy.unlink()
        with pytest.raises(FileMissing, match="no such file"):
            Backtest(SETTINGS, lambda dead: None, None, None, 2).take(file)


def test_shares_that_read_different_files_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = processes._heard
    calls: list[int] = []

    def other(*pipe: Any) -> Any:
        calls.append(1)
        told = heard(*pipe)
        return told._replace(records=told.records + 1) if len(calls) == 4 else told

    monkeypatch.setattr(processes, "_heard", other)
    with RecordFile(path, "follows") as file, pytest.raises(FileBroken, match="changed while"):
        Backtest(SETTINGS, lambda dead: None, 2_000, None, 2).take(file)


def test_a_pipe_is_read_by_one_process_whatever_is_asked(path: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "follows.pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        wrote = pool.submit(pipe.write_bytes, path.read_bytes())
        with RecordFile(pipe, "follows") as file:
            backtest = Backtest(SETTINGS, lambda dead: None, 20_000, None, 2)
            backtest.take(file)
        assert sum(backtest.result.records.values()) == path.read_bytes().count(b"\n") + 1
        assert wrote.result() > 0


def test_a_process_that_is_killed_ends_the_back_test(path: Path) -> None:
    task = FileTask("follows", True, (SETTINGS,), 2_000)
    told = counted_apart(path, task, 2)
    next(told)
    children = multiprocessing.active_children()
    assert len(children) == 2
    children[0].kill()
    with pytest.raises(ProcessEnded, match="exit code -9"):
        list(told)
    assert not multiprocessing.active_children()


def test_the_command_takes_a_number(path: Path, tmp_path: Path) -> None:
    outs = []
    for count in ("1", "2"):
        out = tmp_path / f"surges-{count}.ndjson"
        asked = ["backtest", "--follows", str(path), "--surges", str(out), "--processes", count]
        result = CliRunner().invoke(main, asked, env={"SURGEWATCH_TOPIC_PARTITIONS": "4"})
        assert result.exit_code == 0, result.output
        outs.append(out.read_bytes())
    assert outs[0] == outs[1] != b""
