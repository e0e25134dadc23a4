"""The rule of the house holds, and what holds it would see a breach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import streams
from tests.floors import LINES_MAX, breaches_of

PACKAGE = Path(str(streams.__file__)).parent


def modules_of(package: Path) -> list[str]:
    paths = sorted(package.rglob("*.py"))
    dotted = [path.relative_to(package.parent).with_suffix("").parts for path in paths]
    return [".".join(parts).removesuffix(".__init__") for parts in dotted]


def test_every_file_keeps_the_rule_of_the_house() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 5
    assert [breach for file in files for breach in breaches_of(file, PACKAGE)] == []


@pytest.mark.parametrize(
    ("place", "source", "breach"),
    [
        ("core/a.py", "import streams.edges.codec", "1 core imports from edges"),
        ("core/a.py", "from streams.app import cli", "1 core imports from app"),
        ("core/a.py", "from streams import edges", "1 core imports from edges"),
        ("core/a.py", "from ..edges import codec", "1 core imports from edges"),
        ("core/deep/a.py", "from ...edges import codec", "1 core imports from edges"),
        ("edges/a.py", "from streams.app.cli import main", "1 edges imports from app"),
        ("edges/a.py", "def f():\n    from streams import app", "2 edges imports from app"),
        ("edges/a.py", "from .. import app", "1 edges imports from app"),
        ("core/a.py", "import time", "1 core may not import time"),
        ("core/a.py", "import os.path as p", "1 core may not import os.path"),
        ("core/a.py", "from random import random", "1 core may not import random"),
        ("core/a.py", "def f():\n    import socket", "2 core may not import socket"),
        ("core/a.py", "from pathlib import Path", "1 core may not import pathlib"),
        ("core/a.py", "import asyncio", "1 core may not import asyncio"),
        ("core/a.py", "from datetime import datetime", "1 core may not import datetime"),
        ("core/a.py", "import logging", "1 core may not import logging"),
        ("core/a.py", "import redis", "1 core may not import redis"),
        ("core/a.py", "import river", "1 core may not import river"),
        ("core/a.py", "from numpy.random import default_rng", "1 core may not import numpy"),
        ("core/a.py", "from numpy import random", "1 core may not import numpy.random"),
        ("core/a.py", "import numpy as np\nnp.random.rand()", "2 core may not use numpy.random"),
        ("core/a.py", "rng = np.random.default_rng()", "1 core may not use numpy.random.default"),
        ("core/a.py", "import numpy\nnumpy.load('x')", "2 core may not use numpy.load"),
        ("core/a.py", "import pickle", "1 core may not import pickle"),
        ("core/a.py", "open('state')", "1 core may not use open()"),
        ("core/a.py", "x = 1\n" * (LINES_MAX + 1), f"has more than {LINES_MAX} lines"),
        ("app/a.py", "x = 1\n" * (LINES_MAX + 1), f"has more than {LINES_MAX} lines"),
    ],
)
def test_a_breach_is_seen(tmp_path: Path, place: str, source: str, breach: str) -> None:
    package = tmp_path / "streams"
    file = package / place
    file.parent.mkdir(parents=True)
    file.write_text(source)
    found = breaches_of(file, package)
    assert len(found) == 1
    assert found[0].startswith(f"streams/{place}:")
    assert breach in found[0]


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("core/a.py", "import math, struct\nimport numpy as np\nimport msgspec"),
        ("core/a.py", "from streams.core.time.buckets import bucket_of\nfrom . import events"),
        ("core/a.py", "import numpy as np\nrng: np.random.Generator = np.random.default_rng(7)"),
        ("core/detection/river_models.py", "from river.base import AnomalyDetector"),
        ("edges/a.py", "import os, time\nfrom streams.core import events\nfrom . import codec"),
        ("app/a.py", "from streams.edges import codec\nfrom streams.core import events"),
        ("core/a.py", "x = 1\n" * LINES_MAX),
    ],
)
def test_what_is_allowed_is_no_breach(tmp_path: Path, place: str, source: str) -> None:
    file = tmp_path / "streams" / place
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert breaches_of(file, tmp_path / "streams") == []


# Imports the modules given and prints what they did: files written, sockets, processes and
# threads made, variables read from their own code. What third parties do is not ours to hold.
_WATCHER = """
import importlib, json, os, sys, threading
package, root, names = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.path.insert(0, os.path.dirname(root))
sys.dont_write_bytecode = True
did, active = [], False
library = os.path.dirname(os.__file__) + os.sep

def ours():
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(root):
            return os.path.relpath(file, root) + ":" + str(frame.f_lineno)
        if "site-packages" in file or not file.startswith((library, "<frozen")):
            return None
        frame = frame.f_back
    return None

def hook(event, arguments):
    if not active:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    makes = event.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "os.mkdir"))
    if writes or makes or event in ("os.putenv", "os.unsetenv"):
        place = ours()
        if place:
            did.append(event + " at " + place)

class Watched(type(os.environ)):
    def __getitem__(self, key):
        place = ours()
        if place:
            did.append("os.environ[" + repr(key) + "] at " + place)
        return super().__getitem__(key)

def start_new_thread(*arguments, start=threading._start_new_thread, **keywords):
    # No audit event tells of it before Python 3.12.
    place = active and ours()
    if place:
        did.append("start_new_thread at " + place)
    return start(*arguments, **keywords)

threading._start_new_thread = start_new_thread
old = os.environ
os.environ = Watched(old._data, old.encodekey, old.decodekey, old.encodevalue, old.decodevalue)
sys.addaudithook(hook)
active = True
for name in names:
    importlib.import_module(name)
active = False
print(json.dumps({"did": did, "threads": threading.active_count()}))
"""


def watch_imports(package: Path) -> tuple[list[str], int]:
    """What the modules of a package do when imported, and the threads there are after."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHER, package.name, str(package), *modules_of(package)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    return seen["did"], seen["threads"]


def test_importing_every_module_does_nothing() -> None:
    assert watch_imports(PACKAGE) == ([], 1)


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import os\nBROKER = os.environ['PATH']", "os.environ['PATH'] at a.py:2"),
        ("import os\nBROKER = os.environ.get('PATH')", "os.environ['PATH'] at a.py:2"),
        ("import os\nBROKER = os.getenv('PATH')", "os.environ['PATH'] at a.py:2"),
        ("import socket\nsocket.socket()", "socket.__new__ at a.py:2"),
        ("import subprocess\nsubprocess.run(['true'])", "subprocess.Popen at a.py:2"),
        ("import os\nopen(os.devnull, 'w')", "open at a.py:2"),
        ("import threading\nthreading.Thread(target=int).start()", "start_new_thread at a.py:2"),
    ],
)
def test_an_import_that_does_something_is_seen(tmp_path: Path, source: str, seen: str) -> None:
    package = tmp_path / "fake"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text(source)
    did, _ = watch_imports(package)
    assert any(seen in each for each in did), did
