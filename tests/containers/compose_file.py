"""Where the compose file is, and what reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.servers import ServerMissing

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "docker-compose.yml"
OVERRIDE: Final = ROOT / "tests/containers/compose.test.yml"


def cache_folder() -> Path:
    """Where what is fetched and built stays between runs."""
    return Path(os.environ.get("SURGEWATCH_CACHE") or ROOT / ".cache")


def compose_program() -> str:
    """Path of the Compose that ``tests/containers/provision.sh`` builds."""
    return str(_built("compose/docker-compose", "tests/containers/provision.sh"))


def compose_spec_program() -> Path:
    """Path of what Compose reads its files with; ``tests/tools/compose.sh`` builds it."""
    return _built("compose-spec/compose-spec", "tests/tools/compose.sh")


def _built(name: str, script: str) -> Path:
    path = cache_folder() / name
    if not path.exists():
        message = f"{path.name} (built by {script})"
        raise ServerMissing(message)
    return path
