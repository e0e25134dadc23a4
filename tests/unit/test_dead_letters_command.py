"""The command dead-letters as it is typed: what is refused before Kafka is asked."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.app.cli import main
from streams.app.dead_letters import command
from streams.app.dead_letters.command import _hex_rows_of, _text_of
from streams.app.dead_letters.letter_list import Letters


def run(*arguments: str) -> Result:
    env = {"SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return CliRunner(env=env).invoke(main, ["dead-letters", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("retry",), "say which: one of PARTITION:OFFSET…, --reason, --mended"),
        (("retry", "1:2", "--reason", "not_json"), "say which: one of"),
        (("retry", "1:2", "--since", "2h"), "--topic and --since go with --reason"),
        (("retry", "1:2", "1:3", "--record", "x"), "--record goes with one PARTITION:OFFSET"),
        (("retry", "--reason", "nope"), "'nope' is not one of 'empty', 'too_large'"),
        (("retry", "one"), "'one' is no PARTITION:OFFSET"),
        (("show", "1:-2"), "'1:-2' is no PARTITION:OFFSET"),
        (("list", "--since", "yesterday"), "'yesterday' is none of 30m, 2h, 7d"),
        (("list", "--limit", "-1"), "-1 is not in the range x>=0"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_without_records_is_refused_before_kafka_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "mended.ndjson"
    path.write_text("\n")
    result = run("retry", "--mended", str(path))
    assert (result.exit_code, "has no records" in result.stderr) == (4, True)
    result = run("retry", "1:1", "--record", str(tmp_path / "none"))
    assert (result.exit_code, "cannot read" in result.stderr) == (4, True)


def test_bytes_are_shown_as_text_that_moves_no_cursor_and_as_hex() -> None:
    raw = b'{"a":"\x1b[2J\xff\xc3\xbc"}' + b"z" * 5_000
    text = _text_of(raw)
    assert text.startswith('{"a":"\\x1b[2J\\xffü"}zzz')
    assert text.endswith(" characters more)")
    rows = list(_hex_rows_of(raw))
    assert rows[0] == '00000000  7b 22 61 22 3a 22 1b 5b 32 4a ff c3 bc 22 7d 7a  {"a":".[2J..."}z'
    assert len(rows) == 64 + 1
    assert rows[-1].endswith("bytes more: --json has all in base64)")


@pytest.mark.parametrize("more", [(), ("--json",), ("--reason", "not_json")])
def test_that_there_are_no_letters_is_said(
    more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> Letters:
        return Letters([], [], 0)

    monkeypatch.setattr(command, "count_letters", nothing)
    result = run("list", *more)
    such = "such " if "--reason" in more else ""
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"surgewatch: there are no {such}dead letters in topic dead-letters\n"
