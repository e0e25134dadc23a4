"""A Docker engine of our own: state in the cache, socket in a folder; the host is left as it is.

Its images are stand-ins from Debian's packages, for no registry is asked for anything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from streams.edges.process.child import ChildProcess
from tests.containers.compose_file import COMPOSE, ROOT, cache_folder
from tests.servers import kafka_jars, program_of

STAND_INS: Final = ROOT / "tests/containers/images"
PREFIX: Final = "surgewatch-test/"
IMAGE: Final = "surgewatch"
BUILD_SECONDS_MAX: Final = 1200.0
_FLAGS: Final = ("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false")
"""Networks of its own are still made; the host's rules and routes are left alone."""
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


class CommandFailed(Exception):
    """A command of docker or compose ended with another code than 0."""

    def __init__(self, command: Sequence[str], code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{' '.join(command)} ended with {code}:\n{text[-4000:]}")


class Engine:
    """The engine, from ``with`` to its end. What ran in it before is removed; images stay."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = cache_folder() / "containers/engine"
        self.host = f"unix://{folder / 'd.sock'}"

    @property
    def environ(self) -> dict[str, str]:
        """Variables with which docker and compose use this engine, and its classic builder."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "COMPOSE_"))},
            "DOCKER_HOST": self.host,
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }

    def __enter__(self) -> Self:
        self._root.mkdir(parents=True, exist_ok=True)
        command = [
            program_of("dockerd"),
            *("--data-root", str(self._root), "--exec-root", str(self._folder / "exec")),
            *("--pidfile", str(self._folder / "d.pid"), "--host", self.host),
            *_FLAGS,
        ]
        self._child = ChildProcess("dockerd", command, self._folder / "dockerd.log")
        self._child.start()
        self._child.wait_until(self._answers, 60.0)
        self.remove_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.remove_all()
        finally:
            self._child.end(30.0)
            for left in (self._folder / "exec/netns").glob("*"):  # it leaves them mounted
                subprocess.run([program_of("umount"), str(left)], check=False)

    def remove_all(self) -> None:
        """Remove every container, network and volume."""
        ids = self.docker("ps", "--all", "--quiet").split()
        if ids:
            self.docker("rm", "--force", "--volumes", *ids)
        self.docker("network", "prune", "--force")
        names = self.docker("volume", "ls", "--quiet").split()
        if names:
            self.docker("volume", "rm", "--force", *names)

    def docker(self, *arguments: str, seconds_max: float = 120.0) -> str:
        """What a command of docker prints. Raises CommandFailed."""
        return run([program_of("docker"), *arguments], self.environ, seconds_max)

    def inspect(self, name: str) -> dict[str, Any]:
        """All that the engine knows of a container or image."""
        (found,) = json.loads(self.docker("inspect", name))
        assert isinstance(found, dict)
        return found

    def build_stand_ins(self) -> None:
        """Build what stands in for the images that nobody can pull here, under their names."""
        tar = cache_folder() / "containers/debian-bookworm.tar"
        if f"{PREFIX}debian" not in self.docker("images", "--format", "{{.Repository}}"):
            self.docker("import", str(tar), f"{PREFIX}debian", seconds_max=300)
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            context = Path(name)
            shutil.copytree(STAND_INS, context, dirs_exist_ok=True)
            shutil.copytree(kafka_jars(), context / "libs")
            shutil.copy(_AUTHORITIES, context)
            names = {"python": f"{PREFIX}python", "python-build": f"{PREFIX}python-build"}
            for target, image in {**names, **images_of_others()}.items():
                self._build(str(context), "--target", target, "--tag", image)

    def build_image(self, tag: str = IMAGE, *more: str) -> None:
        """Build the worker's image as it is shipped, on the stand-in base."""
        arguments = {
            "BASE_IMAGE": f"{PREFIX}python",
            "BUILD_IMAGE": f"{PREFIX}python-build",
            "PIP_INDEX_URL": os.environ.get("PIP_INDEX_URL"),
        }
        given = [f"--build-arg={k}={v}" for k, v in arguments.items() if v is not None]
        dockerfile = str(ROOT / "deploy/Dockerfile")
        self._build(str(ROOT), "--file", dockerfile, "--tag", tag, *given, *more)

    def _build(self, context: str, *arguments: str) -> None:
        options = ("--network=host", "--pull=false", "--quiet")
        self.docker("build", *options, *arguments, context, seconds_max=BUILD_SECONDS_MAX)

    def _answers(self) -> bool:
        try:
            self.docker("version", seconds_max=5)
        except (CommandFailed, subprocess.TimeoutExpired):
            return False
        return True


def images_of_others() -> dict[str, str]:
    """Images of the compose file that have a stand-in, by the target that builds it."""
    import yaml

    services = yaml.safe_load(COMPOSE.read_text())["services"]
    names = ("kafka", "redis", "prometheus", "alertmanager")
    return {name: services[name]["image"] for name in names}


def run(command: Sequence[str], environ: Mapping[str, str], seconds_max: float) -> str:
    """Run to the end; stdout. Raises CommandFailed with what it printed."""
    done = subprocess.run(
        command,
        env=dict(environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds_max,
    )
    if done.returncode:
        raise CommandFailed(command, done.returncode, done.stdout + done.stderr)
    return done.stdout


class Container:
    """A worker in a container on the host's network, hardened as compose does it."""

    HARDENED: Final = (
        *("--read-only", "--tmpfs", "/tmp:size=64m,mode=1777,noexec,nosuid,nodev"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges:true"),
        *("--memory=512m", "--pids-limit=512", "--network=host", "--pull=never"),
    )

    def __init__(self, engine: Engine, name: str, environ: Mapping[str, str]) -> None:
        self._engine = engine
        self.name = name
        variables = [f"--env={key}={value}" for key, value in environ.items()]
        self._engine.docker("run", "--detach", f"--name={name}", *self.HARDENED, *variables, IMAGE)

    @property
    def state(self) -> dict[str, Any]:
        """Status, exit code, health: as the engine tells it."""
        state = self._engine.inspect(self.name)["State"]
        assert isinstance(state, dict)
        return state

    @property
    def is_healthy(self) -> bool:
        """Whether its health check says so."""
        return bool(self.state["Health"]["Status"] == "healthy")

    def text(self) -> str:
        """What it printed."""
        command = [program_of("docker"), "logs", self.name]
        done = subprocess.run(
            command, env=self._engine.environ, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._engine.docker("kill", "--signal=KILL", self.name)
        self._engine.docker("wait", self.name)

    def start(self) -> None:
        """Start it again: the same container."""
        self._engine.docker("start", self.name)

    def stop(self, seconds_max: int = 30) -> tuple[int, float]:
        """End it with SIGTERM; its exit code, and how many seconds that took."""
        began = time.monotonic()
        self._engine.docker("stop", f"--time={seconds_max}", self.name)
        return int(self.state["ExitCode"]), time.monotonic() - began

    def run(self, *command: str) -> str:
        """What a command in it prints."""
        return self._engine.docker("exec", self.name, *command)
