"""What runbooks say to type at redis-cli is typed, at a Redis that has a worker's state."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import program_or_say
from tests.e2e.desk import FollowsDesk
from tests.e2e.secure_stage import documented_acl
from tests.secure_servers import USER
from tests.servers import KafkaServer, RedisServer
from tests.unit.test_runbooks import NAMES, lines_of
from tests.workers import Site, WorkerProcess

PASSWORD: Final = "word"  # without a space: it stands in redis.conf and in a URL
CREATORS: Final = [f"c-{number % 50}" for number in range(300)]
LINES: Final = sorted(
    {line for name in NAMES for line in lines_of(name, "sh") if line.startswith("redis-cli")}
)
CHANGING: Final[frozenset[str]] = frozenset()
"""Lines that change what Redis holds, and are not typed here: none so far."""


@pytest.fixture
def busy(
    kafka: KafkaServer,
    redis_factory: Callable[..., RedisServer],
    fresh_name: Callable[[str], str],
    start: Callable[[Site, str], WorkerProcess],
    tmp_path: Path,
) -> Iterator[FollowsDesk]:
    """A worker that has counted, and works on with the rights that docs/security.md gives."""
    name = fresh_name("site")
    rights = documented_acl().replace("~surgewatch:", f"~{name}:")
    everybody = {"user default": "on nopass ~* &* +@all"}
    server = redis_factory(settings={**everybody, f"user {USER}": f"on >{PASSWORD} {rights}"})
    desk = FollowsDesk(Site(kafka.bootstrap, server.url, name, tmp_path).make_topics())
    desk.send(desk.follows(CREATORS, counted=True))
    login = {"SURGEWATCH_REDIS_USERNAME": USER, "SURGEWATCH_REDIS_PASSWORD": PASSWORD}
    site = Site(kafka.bootstrap, server.url, name, tmp_path, login)
    worker = start(site, "worker")
    desk.wait_stored(worker, len(CREATORS))
    yield desk
    assert worker.stop() == 0


def typed(line: str, url: str) -> str:
    """What a line answers; -e is added, that redis-cli may say by its code when it is an error."""
    program_or_say("redis-cli")
    line = line.replace("redis-cli ", "redis-cli -e ", 1)
    done = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, "SURGEWATCH_REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def test_what_runbooks_type_at_redis_cli_is_answered_to_all_and_to_a_workers_user(
    busy: FollowsDesk,
) -> None:
    assert len(LINES) > 3
    assert {*LINES} >= CHANGING
    everybody = busy.site.redis_url
    workers = everybody.replace("//", f"//{USER}:{PASSWORD}@")
    for line in LINES:
        if line not in CHANGING:
            assert all(typed(line, url).strip() for url in (everybody, workers)), line
    assert busy.differences() == []


@pytest.mark.parametrize("words", ["hget no-such", "frobnicate"])
def test_a_line_that_redis_refuses_would_be_seen(redis_server: RedisServer, words: str) -> None:
    with pytest.raises(AssertionError, match="ERR"):
        typed(f'redis-cli -u "$SURGEWATCH_REDIS_URL" {words}', redis_server.url)
