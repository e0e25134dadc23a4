"""Where ``provision.sh`` brought the peers, or why it could not."""

import os
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).parent


class PeerMissing(Exception):
    """A peer is not on this machine; the message says why."""


def peer_folder(name: str) -> Path:
    """Folder of a peer in the cache. Raises PeerMissing."""
    cache = os.environ.get("SURGEWATCH_CACHE") or PEERS.parents[2] / ".cache"
    folder, reason = Path(cache) / "peers" / name, Path(cache) / "peers" / f"{name}.reason"
    if reason.exists():
        raise PeerMissing(reason.read_text().strip())
    if not (folder / ".complete").exists():
        message = f"not brought: run {PEERS.relative_to(PEERS.parents[2])}/provision.sh"
        raise PeerMissing(message)
    return folder


def peer_python(name: str) -> Path:
    """Python of a peer's own environment. Raises PeerMissing."""
    return peer_folder(name) / "bin" / "python"
