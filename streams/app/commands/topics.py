"""The command ``surgewatch topics``: create the five topics, or check them."""

import os

import click
import msgspec

from streams.app.commands.show import print_json, print_table
from streams.edges.errors import DataError
from streams.edges.kafka.topics import TopicMade, check_topics, create_topics, topic_plans
from streams.edges.settings.reading import Settings, read_settings


@click.group(epilog="Example: surgewatch topics create")
def topics() -> None:
    """Create or check the five topics in Kafka."""


_JSON = click.option("--json", "as_json", is_flag=True, help="NDJSON, one object a line.")


@topics.command(epilog="Example: SURGEWATCH_TOPIC_PARTITIONS=12 surgewatch topics create")
@_JSON
@click.pass_context
def create(context: click.Context, /, *, as_json: bool) -> None:
    """Create the topics that are not there; those that are stay as they are."""
    made = create_topics(_settings(context))
    wanted = _settings(context).topic_partitions
    if as_json:
        for topic in made:
            print_json(topic)
        return
    print_table(
        ("Topic", "Partitions", "Done"),
        [(one.topic, str(one.partitions), _done(one, wanted)) for one in made],
    )


def _done(made: TopicMade, wanted: int) -> str:
    if made.created:
        return "created"
    differs = made.partitions != wanted
    return (
        f"was there, with another count than {wanted}: see topics check" if differs else "was there"
    )


@topics.command(epilog="Example: surgewatch topics check --json")
@_JSON
@click.pass_context
def check(context: click.Context, /, *, as_json: bool) -> None:
    """Say what differs from what the topics must be; nothing that does: exit code 0, else 4."""
    settings = _settings(context)
    findings = check_topics(settings)
    if as_json:
        for finding in findings:
            print_json(msgspec.to_builtins(finding))
    elif findings:
        print_table(
            ("Topic", "Problem", "What to do", "Worker"),
            [
                (one.topic, one.problem, one.fix, "must not start" if one.blocks else "may run")
                for one in findings
            ],
        )
    else:
        names = ", ".join(plan.name for plan in topic_plans(settings))
        click.echo(f"all as they must be: {names}")
    if findings:
        one = len(findings) == 1
        message = f"{len(findings)} {'thing differs' if one else 'things differ'} in the topics"
        raise DataError(message)


def _settings(context: click.Context) -> Settings:
    return context.find_object(Settings) or read_settings(os.environ)
