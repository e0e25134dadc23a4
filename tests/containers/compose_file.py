"""Where the compose file is, and the Compose that reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "docker-compose.yml"
OVERRIDE: Final = ROOT / "tests/containers/compose.test.yml"


def cache_folder() -> Path:
    """Where what is fetched and built stays between runs."""
    return Path(os.environ.get("SURGEWATCH_CACHE") or ROOT / ".cache")


def compose_program() -> str | None:
    """Path of a Compose v2: the one that ``provision.sh`` built, else this machine's; or None."""
    built = cache_folder() / "compose/docker-compose"
    for program in (str(built), shutil.which("docker-compose")):
        if program is None or not os.access(program, os.X_OK):
            continue
        command = [program, "version", "--short"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.lstrip("v").startswith("2."):
            return program
    return None
