"""The program that runs every test: all are run, what fails is told, the last line sums up."""

from pathlib import Path

import pytest

from tests.run import RUNS, WITH_SERVERS, run_all

ROOT = Path(__file__).parent.parent.parent


def test_every_run_is_made_whatever_fails_and_the_last_line_has_the_sum(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "test_first.py", tmp_path / "test_second.py"
    first.write_text("def test_a():\n    assert False\n\ndef test_b():\n    pass\n")
    second.write_text(
        "import pytest\n\ndef test_c():\n    pytest.skip('no')\n\ndef test_d():\n    pass\n"
        "\n@pytest.fixture\ndef gone():\n    raise OSError\n\ndef test_e(gone):\n    pass\n"
    )
    here = ("-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "no:cacheprovider")
    assert run_all([(*here, "-n", "2", str(first)), (*here, str(second))]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1].startswith("tests: FAILED: 1 failed, 1 errors, 2 passed, 1 skipped in 0:00:")
    assert run_all([(*here, f"{second}::test_d")]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith("tests: 1 passed in 0:00:")


def test_a_run_that_cannot_begin_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_all([("--no-such-option",)]) == 1
    assert capfd.readouterr().out.splitlines()[-1].startswith("tests: FAILED: none ran")


def test_what_is_left_out_of_the_first_run_is_in_the_others_which_part_it_by_one_mark() -> None:
    first, together, alone = RUNS
    left_out = {word.removeprefix("--ignore=") for word in first if word.startswith("--ignore")}
    assert left_out == set(WITH_SERVERS)
    assert set(together[-2:]) == set(alone[-2:]) == left_out
    assert (*together[-4:-2], *alone[:-2]) == ("-m", "not alone", "-m", "alone")
    assert all((ROOT / folder).is_dir() for folder in left_out)
