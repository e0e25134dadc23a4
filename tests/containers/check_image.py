"""The worker's image, built and run for real: make test-containers."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path

from tests.containers.engine import IMAGE, PREFIX, Container, Engine
from tests.sender import Sender, assert_exact
from tests.workers import Site, wait_until

BUILDERS = ("cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "cmake", "cargo", "rustc", "go")
STOP_SECONDS_MAX = 10.0

PROGRAMS = f"""
import os, shutil
print([name for name in {BUILDERS!r} if shutil.which(name)])
print(os.path.exists("/opt/surgewatch/bin/pip"), os.path.exists("/src"), os.path.exists("/build"))
"""
FILES = """
import hashlib, os
for folder, folders, files in sorted(os.walk("/opt/surgewatch")):
    for name in sorted(files + folders):
        path = os.path.join(folder, name)
        seen = os.lstat(path)
        body = os.readlink(path) if os.path.islink(path) else ""
        if os.path.isfile(path) and not body:
            body = hashlib.sha256(open(path, "rb").read()).hexdigest()
        print(path, oct(seen.st_mode), seen.st_uid, seen.st_gid, int(seen.st_mtime), body)
"""
WRITES = """
import os
for path in ("/", "/opt/surgewatch", "/etc", "/var", "/dev/shm", "/tmp"):
    try:
        open(os.path.join(path, "x"), "w").close()
        print(path)
    except OSError:
        pass
"""
STATUS = "print(open('/proc/1/status').read())"


def in_image(engine: Engine, code: str, tag: str = IMAGE) -> str:
    options = ("--rm", "--network=none", "--pull=never", "--entrypoint=python3")
    return engine.docker("run", *options, tag, "-c", code)


def test_image_has_no_compiler_no_pip_and_nothing_of_the_build(engine: Engine) -> None:
    assert in_image(engine, PROGRAMS).splitlines() == ["[]", "False False False"]


def test_image_says_what_it_is_and_how_it_is_run(engine: Engine) -> None:
    config = engine.inspect(IMAGE)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["surgewatch"]
    assert config["Cmd"] == ["worker"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "PIP_INDEX_URL" not in engine.docker("history", "--no-trunc", IMAGE)


def test_two_builds_are_the_same_layers(engine: Engine) -> None:
    engine.build_image("surgewatch-again", "--no-cache")
    layers = [engine.inspect(tag)["RootFS"]["Layers"] for tag in (IMAGE, "surgewatch-again")]
    files = [in_image(engine, FILES, tag) for tag in (IMAGE, "surgewatch-again")]
    assert files[0].splitlines() == files[1].splitlines()
    assert len(files[0].splitlines()) > 2000
    assert layers[0] == layers[1]
    base = engine.inspect(f"{PREFIX}python")["RootFS"]["Layers"]
    assert layers[0][: len(base)] == base
    assert len(layers[0]) == len(base) + 1, "one layer on top of the base"


def test_worker_counts_exactly_through_kill_9_and_stops_in_order(
    engine: Engine, site: Site, start: Callable[[Site, str], Container]
) -> None:
    sender = Sender(site, 60_000)
    asyncio.run(sender.send(0.4))
    worker = start(site, "worker")
    wait_until(lambda: worker.is_healthy, 60, worker.text)
    topic = site.settings.topic_follows
    wait_until(lambda: sum(site.stored_offsets(topic).values()) > 3000, 60, worker.text)
    asyncio.run(sender.send(0.3))
    worker.kill()
    asyncio.run(sender.send(0.3))
    worker.start()
    wait_until(sender.all_stored, 90, worker.text)
    assert_exact(sender)
    assert len(sender.ledger.openings) > 5
    code, seconds = worker.stop()
    assert (code, worker.state["OOMKilled"]) == (0, False), worker.text()[-2000:]
    assert seconds < STOP_SECONDS_MAX
    assert "Traceback" not in worker.text()


def test_worker_runs_as_nobody_with_no_rights_and_writes_to_tmp_only(
    engine: Engine, site: Site, start: Callable[[Site, str], Container]
) -> None:
    worker = start(site, "worker")
    wait_until(lambda: worker.is_healthy, 60, worker.text)
    lines = worker.run("python3", "-c", STATUS).splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert {int(status[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert worker.run("python3", "-c", WRITES).split() == ["/dev/shm", "/tmp"]


def test_health_check_tells_of_a_lost_redis_and_of_its_return(
    engine: Engine,
    site: Site,
    start: Callable[[Site, str], Container],
    redis_factory: Callable[..., object],
) -> None:
    redis = redis_factory()
    site.redis_url = redis.url  # type: ignore[attr-defined]
    worker = start(site, "worker")
    wait_until(lambda: worker.is_healthy, 60, worker.text)
    redis.pause()  # type: ignore[attr-defined]
    try:
        sender = Sender(site, 10_000)
        asyncio.run(sender.send(1.0))
        wait_until(lambda: not worker.is_healthy, 60, worker.text)
        said = worker.state["Health"]["Log"][-1]["Output"]
        assert "Redis cannot be reached" in said
    finally:
        redis.resume()  # type: ignore[attr-defined]
    wait_until(lambda: worker.is_healthy, 60, worker.text)


def test_sigterm_while_it_loads_ends_it_at_once(
    engine: Engine, site: Site, start: Callable[[Site, str], Container]
) -> None:
    def catches_sigterm() -> bool:
        status = Path(f"/proc/{worker.state['Pid']}/status").read_text()
        (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    worker = start(site, "worker")
    wait_until(catches_sigterm, 30, "a handler: without one the kernel drops it for PID 1")
    code, seconds = worker.stop()
    assert "metrics on" not in worker.text(), "it was still loading"
    assert code == 128 + signal.SIGTERM
    assert seconds < STOP_SECONDS_MAX


def test_worker_without_a_folder_to_write_to_says_so_in_one_line(
    engine: Engine, site: Site
) -> None:
    variables = [f"--env={key}={value}" for key, value in site.environ.items()]
    options = ("--read-only", "--network=host", "--pull=never", "--name=full")
    engine.docker("run", "--detach", *options, *variables, IMAGE)
    assert engine.docker("wait", "full").strip() == "2"
    engine.remove_all()
