"""The command line as a user meets it: help, one-line errors, exit codes."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from streams.app.cli import COMMANDS, LazyCommand, main
from streams.app.worker.worker import temporary_folder
from streams.edges.errors import DataError, KafkaUnreachable, SettingsError
from streams.edges.logs.output import set_up_logs
from streams.edges.settings.reading import Settings

RUN = (sys.executable, "-m", "streams.app.cli")


@click.command()
@click.option("--raised", required=True)
def failing(raised: str) -> None:
    """Fail in the way that is asked for."""
    errors: dict[str, BaseException] = {
        "data": DataError("two\nlines"),
        "kafka": KafkaUnreachable("nowhere:1", "refused"),
        "bug": ZeroDivisionError("by zero"),
        "interrupt": KeyboardInterrupt(),
    }
    raise errors[raised]


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "failing", LazyCommand(__name__, "failing", "Fail."))


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, arguments, prog_name="surgewatch")


def paths_of_commands() -> Iterator[tuple[str, ...]]:
    for name, lazy in COMMANDS.items():
        if lazy.is_there:
            yield (name,)
            command = lazy.load()
            if isinstance(command, click.Group):
                yield from ((name, inner) for inner in command.commands)


@pytest.mark.parametrize("path", list(paths_of_commands()), ids=" ".join)
def test_help_of_every_command_has_an_example(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "Example: " in words
    assert f"surgewatch {path[0]}" in words or f"surgewatch.toml {path[0]}" in words


def test_help_of_the_group_lists_commands_as_they_call_themselves() -> None:
    words = " ".join(run("--help").stdout.split())
    for name, lazy in COMMANDS.items():
        if lazy.is_there:
            assert f"{name} {lazy.short_help}" in words
            own = (lazy.load().help or "").partition("\n\n")[0]
            assert " ".join(own.split()) == lazy.short_help


def test_help_of_the_group_tells_the_exit_codes() -> None:
    words = " ".join(run("--help").stdout.split())
    for told in ("0 fine", "2 settings", "3 Kafka", "4 data", "70 no progress", "130 interrupted"):
        assert told in words


def test_help_imports_no_library_that_takes_long() -> None:
    code = (
        "import sys; from streams.app.cli import main; main(['--help'], standalone_mode=False)\n"
        "print([n for n in ('faust', 'numpy', 'rich', 'redis', 'kafka', 'river', 'aiokafka') "
        "if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("[]\n")


def test_a_worker_imports_no_river_model_that_nobody_asked_for() -> None:
    code = (
        "import sys, streams.app.worker.worker\n"
        "print([n for n in ('scipy', 'river.anomaly') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_command_whose_module_is_missing_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "gone", LazyCommand("streams.app.gone", "gone", "Gone."))
    assert "Gone." not in run("--help").stdout
    assert run("gone").exit_code == 2


@pytest.mark.usefixtures("failing_command")
@pytest.mark.parametrize(
    ("raised", "exit_code", "line"),
    [
        ("data", 4, "surgewatch: two lines\n"),
        ("kafka", 3, "surgewatch: cannot reach Kafka at nowhere:1 (refused): is it running"),
        ("interrupt", 130, "surgewatch: interrupted\n"),
        ("bug", 1, "surgewatch: ZeroDivisionError: by zero; this is a bug: run again with --debug"),
    ],
)
def test_every_error_is_one_line_and_its_exit_code(raised: str, exit_code: int, line: str) -> None:
    result = run("failing", "--raised", raised)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("failing_command")
def test_debug_shows_the_traceback_of_a_bug() -> None:
    assert isinstance(run("--debug", "failing", "--raised", "bug").exception, ZeroDivisionError)
    result = run("failing", "--raised", "bug", SURGEWATCH_LOG_LEVEL="debug")
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), "No such command 'nope': see surgewatch --help"),
        (("--nope",), "see surgewatch --help"),
        (("config", "--nope"), "see surgewatch config --help"),
        (("topics", "nope"), "No such command 'nope': see surgewatch topics --help"),
        (("counts",), "one of --creator, --post, --top, --all: see surgewatch counts --help"),
        (("counts", "--creator", "c", "--all"), "one of --creator, --post"),
        (("counts", "--top", "3", "--idle"), "--idle goes with --all"),
        (("backtest",), "give --follows, --comments or both: see surgewatch backtest --help"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_broken_settings_are_one_line_and_do_not_hide_the_help(tmp_path: Path) -> None:
    path = tmp_path / "surgewatch.toml"
    path.write_text("rule_followers_24h = 0\n")
    result = run("--config", str(path), "config")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}: rule_followers_24h = 0: allowed is a whole number from 1" in result.stderr
    assert result.stderr.count("\n") == 1
    assert run("--config", str(path), "config", "--help").exit_code == 0
    assert run("--config", str(tmp_path / "none.toml"), "config").exit_code == 2


def test_config_tells_values_and_origins_and_hides_secrets(tmp_path: Path) -> None:
    path = tmp_path / "surgewatch.toml"
    path.write_text('[redis]\npassword = "verysecret"\n')
    environ = {"SURGEWATCH_RULE_FOLLOWERS_24H": "7", "SURGEWATCH_CONFIG": str(path)}
    told = json.loads(run("config", "--json", **environ).stdout)
    assert told["rule_followers_24h"]["value"] == "7"
    assert told["rule_followers_24h"]["origin"] == "SURGEWATCH_RULE_FOLLOWERS_24H"
    assert told["redis_password"]["value"] == "***"
    assert told["redis_password"]["origin"] == str(path)
    plain = run("config", **environ).stdout
    assert "rule_followers_24h\t7\tSURGEWATCH_RULE_FOLLOWERS_24H\t" in plain
    assert plain.startswith("Setting\tValue\t"), "a person may read it without a terminal"
    assert "verysecret" not in plain


@pytest.mark.parametrize("action", ["create", "check"])
def test_topics_without_kafka_say_so(action: str) -> None:
    environ = {
        "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SURGEWATCH_KAFKA_TIMEOUT_MS": "1000",
    }
    result = run("topics", action, **environ)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "cannot reach Kafka at 127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") == 1


def test_reader_that_leaves_ends_the_command_quietly() -> None:
    with subprocess.Popen([*RUN, "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(timeout=30) == 0


def test_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    path = tmp_path / "follows.ndjson"
    os.mkfifo(path)
    command = [*RUN, "backtest", "--follows", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as run:
        with path.open("wb"):  # opens when the command has begun to read
            run.send_signal(signal.SIGINT)
            assert run.wait(timeout=30) == 130
        assert run.stderr is not None
        assert run.stderr.read().startswith(b"surgewatch: interrupted")


@pytest.fixture
def fresh_logging() -> Iterator[None]:
    """The root logger without handlers; as it was after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("fresh_logging")
def test_messages_are_plain_lines_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("streams.test")
    set_up_logs(Settings())
    log.info("read %d", 7)
    log.debug("not told")
    assert "Z INFO    read 7  [worker=" in capsys.readouterr().err
    set_up_logs(Settings(log_format="json"))
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.exception("two\nlines")
    told = json.loads(capsys.readouterr().err)
    assert (told["level"], told["logger"], told["message"]) == ("error", log.name, "two\nlines")
    assert "ZeroDivisionError" in told["traceback"]


@pytest.mark.usefixtures("fresh_logging")
def test_libraries_chatter_is_told_in_debugging_only(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(Settings())
    logging.getLogger("aiokafka.consumer").info("chatter")
    logging.getLogger("faust.app").warning("weighty")
    set_up_logs(Settings(log_level="debug"))
    logging.getLogger("aiokafka.consumer").debug("wanted")
    told = capsys.readouterr().err
    assert "chatter" not in told
    assert "weighty" in told
    assert "wanted" in told


def test_pid_1_of_a_container_ends_at_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        run("config")
        assert signal.getsignal(signal.SIGTERM) == before, "any other ends by the default"
        monkeypatch.setattr(os, "getpid", lambda: 1)
        run("config")
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_worker_without_a_folder_to_write_to_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    with pytest.raises(SettingsError, match="a read-only root, mount a tmpfs on /tmp") as caught:
        temporary_folder()
    assert caught.value.exit_code == 2
