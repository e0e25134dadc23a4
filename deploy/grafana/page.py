"""What the document of the dashboards says of each panel, written from themselves."""

from collections.abc import Iterator

from grafana_foundation_sdk.models.dashboard import Panel, RowPanel

from deploy.grafana.build import BOARDS


def panels_markdown() -> str:
    """Write a table for each dashboard."""
    return "".join(f"{line}\n" for name in BOARDS for line in _board(name))


def _board(name: str) -> Iterator[str]:
    board = BOARDS[name]
    yield f"### {board.title.removeprefix('Surgewatch: ').capitalize()}\n"
    variables = ", ".join(f"`{one}`" for one in board.scope.variables)
    yield f"{board.description} Uid `{board.uid}`; narrowed by {variables}.\n"
    yield "| Panel | Shows | Limit of |"
    yield "|---|---|---|"
    for placed in board.build().panels or []:
        if isinstance(placed, RowPanel):
            yield f"| **{placed.title}** | | |"
        else:
            yield _row(placed)
    yield ""


def _row(panel: Panel) -> str:
    words = [one for one in (panel.description or "").split("\n\n") if "the limit of [" not in one]
    alerts = [(link.title or "").removeprefix("Runbook: ") for link in panel.links or []]
    limits = ", ".join(f"[{alert}](runbooks/{alert}.md)" for alert in alerts)
    shown = " ".join(words).replace("|", r"\|")
    return f"| {panel.title} | {shown} | {limits} |"
