"""The command ``surgewatch config``: the settings in force."""

import os

import click

from streams.app.commands.show import print_json, print_table
from streams.edges.settings.reading import Settings, read_settings
from streams.edges.settings.specs import settings_table


@click.command(epilog="Example: surgewatch --config surgewatch.toml config --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: setting to its row.")
@click.pass_context
def config(context: click.Context, /, *, as_json: bool) -> None:
    """Show the settings in force.

    Each with where it comes from: default, the file, or a variable. Secrets are hidden.
    """
    settings = context.find_object(Settings) or read_settings(os.environ)
    rows = settings_table(settings)
    if as_json:
        print_json(
            {
                row.name: {
                    "value": row.value,
                    "origin": row.origin,
                    "default": row.default,
                    "allowed": row.allowed,
                    "meaning": row.meaning,
                }
                for row in rows
            }
        )
        return
    titles = ("Setting", "Value", "From", "Meaning")
    print_table(titles, [(row.name, row.value, row.origin, row.meaning) for row in rows])
