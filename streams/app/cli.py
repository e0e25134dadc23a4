"""The command ``surgewatch``: its commands, loaded when asked for, and the one way errors end.

A SurgewatchError becomes one plain line on stderr and its exit code; any other exception is a
bug and says so.
"""

import importlib
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from streams import __version__
from streams.edges.errors import SettingsError, SurgewatchError
from streams.edges.settings.reading import READ_SETTINGS, read_settings

_BUG_CODE: Final = 1
_INTERRUPTED_CODE: Final = 130
_TERMINATED_CODE: Final = 128 + signal.SIGTERM
_TELLS_OF_SETTINGS: Final = "doctor"
"""The command that tells of broken settings itself, among its other findings."""
_WANTS_HELP: Final = "surgewatch.wants_help"

_HELP: Final = """Say within seconds which creator, post or platform is surging.

Reads the topics of follows and comments in Kafka, counts in Redis, announces surges.
"""
_EPILOG: Final = """\b
Example:
  surgewatch demo
  surgewatch --config surgewatch.toml worker

\b
Exit codes:
  0    fine
  1    a bug in Surgewatch
  2    settings or usage: the line says which, and what is allowed
  3    Kafka or Redis cannot be reached, or refuses us
  4    data that is missing or cannot be used (topics, files, stored state)
  70   no progress: the worker's watchdog ended it
  130  interrupted

Settings come from a TOML file and SURGEWATCH_… variables: surgewatch config
"""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is not imported before it is asked for; ``short_help`` is its first line."""

    module: str
    name: str
    short_help: str
    attribute: str = ""
    """Its name in the module, where that is another one."""

    @property
    def is_there(self) -> bool:
        """Whether its module is part of this installation."""
        return find_spec(self.module) is not None

    def load(self) -> click.Command:
        """Import it."""
        command: click.Command = getattr(
            importlib.import_module(self.module), self.attribute or self.name
        )
        return command


COMMANDS: Final = {
    command.name: command
    for command in (
        LazyCommand(
            "streams.app.demo.command",
            "demo",
            "Watch the story being caught live: no servers, no Docker, no Java.",
        ),
        LazyCommand(
            "streams.app.worker.command", "worker", "Count, score and announce until it is ended."
        ),
        LazyCommand(
            "streams.app.commands.topics", "topics", "Create or check the five topics in Kafka."
        ),
        LazyCommand("streams.app.commands.counts", "counts", "Show the counts that Redis holds."),
        LazyCommand(
            "streams.app.surges.command",
            "surges",
            "Show which surges were announced: of whom, when, by how much, and how they stand.",
        ),
        LazyCommand(
            "streams.app.doctor.command",
            "doctor",
            "Check settings, Kafka, Redis, the group, lag and clocks, and say what to do.",
        ),
        LazyCommand(
            "streams.app.commands.lag",
            "lag",
            "Show how far behind the counts are, by topic and partition.",
        ),
        LazyCommand(
            "streams.app.dead_letters.command",
            "dead-letters",
            "List the records that could not be used, and put them back when they are mended.",
            attribute="dead_letters",
        ),
        LazyCommand(
            "streams.app.state.command",
            "state",
            "Back up partitions' state with their offsets, and put a backup back if it fits.",
        ),
        LazyCommand("streams.app.commands.config", "config", "Show the settings in force."),
        LazyCommand(
            "streams.app.backtest.command", "backtest", "Find the surges in files, with no servers."
        ),
        LazyCommand(
            "streams.app.commands.score",
            "score",
            "Score a series of counts in a CSV file: its surges.",
        ),
        LazyCommand(
            "streams.app.simulate.command",
            "simulate",
            "Simulate a platform on which a newcomer, a post and a wave surge, or another world.",
        ),
        LazyCommand(
            "streams.app.commands.replay",
            "replay",
            "Replay files of records into Kafka, in the order of their event time.",
        ),
    )
}


class SurgewatchGroup(click.Group):
    """The group of all commands: imports only the one that runs, and ends errors plainly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands that are there, in the order of the table."""
        return [name for name, command in COMMANDS.items() if command.is_there]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and give a command; None if there is no such one."""
        command = COMMANDS.get(cmd_name)
        return command.load() if command is not None and command.is_there else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table: the help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, COMMANDS[name].short_help) for name in self.list_commands(ctx)]
            )

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the options before the command; a wrong one is said in one line."""
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            _end_usage(error)
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; remember whether help is wanted, of whichever command."""
        ctx.meta[_WANTS_HELP] = "--help" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever ends it is said in one line."""
        try:
            try:
                result = super().invoke(ctx)
            finally:
                sys.stdout.flush()  # a broken pipe shows here, not when Python ends
        except SurgewatchError as error:
            _end(str(error), error.exit_code)
        except KeyboardInterrupt:
            _end("interrupted", _INTERRUPTED_CODE)
        except BrokenPipeError:
            _silence_stdout()  # the reader has seen enough
            result = None
        except click.UsageError as error:
            _end_usage(error)
            raise
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # the last to see it: a bug must not end in silence
            if _is_debug(ctx):
                raise
            _end(f"{_words_of(error)}; this is a bug: run again with --debug", _BUG_CODE)
        return result


@click.group(name="surgewatch", cls=SurgewatchGroup, help=_HELP, epilog=_EPILOG)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE",
    help="TOML file of settings; else the one that SURGEWATCH_CONFIG names.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Print debug messages, and tracebacks of bugs.")
@click.version_option(__version__, prog_name="surgewatch")
@click.pass_context
def main(ctx: click.Context, config: Path | None, debug: bool) -> None:
    """Read the settings for the command that follows."""
    if os.getpid() == 1:
        # In a container the kernel ignores a signal for which there is no handler (yet).
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED_CODE))
    if not ctx.meta[_WANTS_HELP]:  # broken settings must not hide a command's help
        environ = dict(os.environ)
        if debug:
            environ["SURGEWATCH_LOG_LEVEL"] = "debug"
        ctx.meta[READ_SETTINGS] = partial(read_settings, environ, config)
        try:
            ctx.obj = ctx.meta[READ_SETTINGS]()
        except SettingsError as error:
            if ctx.invoked_subcommand != _TELLS_OF_SETTINGS:
                raise
            ctx.obj = error


def _is_debug(ctx: click.Context) -> bool:
    level = os.environ.get("SURGEWATCH_LOG_LEVEL", "").lower()
    return bool(ctx.params.get("debug")) or level == "debug"


def _end(line: str, exit_code: int) -> NoReturn:
    with suppress(OSError):  # a full disk takes the line, not the exit code
        click.echo(f"surgewatch: {' '.join(line.split())}", err=True)
    raise click.exceptions.Exit(exit_code)


def _end_usage(error: click.UsageError) -> None:
    """End with one line instead of click's three; a bare command's help is left to click."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return
    command = error.ctx.command_path if error.ctx else "surgewatch"
    _end(f"{error.format_message().rstrip('.')}: see {command} --help", error.exit_code)


def _words_of(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _silence_stdout() -> None:
    """Send what is still buffered nowhere, so that Python's own flush cannot fail."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
