"""Kafka Streams with memory stores: starts ``peers/CountFollows.java``, which answers itself.

Best honest settings: Processor API, a window store of 5-minute counts and a store of rolling
totals, no changelog, no cache, Jackson's streaming parser; two threads for two cores: a tenth
quicker than one, at the same CPU.
"""

import os
import shutil
import sys

from tests.bench.engines.protocol import Order, order_of, skip
from tests.bench.peers import PeerMissing, peer_folder

_THREADS = "2"


def run(order: Order) -> None:
    """Become the Java program: its process is the one that is measured."""
    java = shutil.which("java")
    if java is None:
        skip("no java on this machine")
    try:
        folder = peer_folder("kafka-streams")
    except PeerMissing as missing:
        skip(str(missing))
    os.execv(
        str(java),
        [
            *("java", "-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"),
            *("-cp", f"{folder}/classes:{folder}/libs/*", "CountFollows"),
            *(order.bootstrap, order.topic, order.name, order.folder),
            *(str(order.records), str(order.threshold), _THREADS),
        ],
    )


if __name__ == "__main__":
    run(order_of(sys.argv))
