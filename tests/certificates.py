"""Certificates for tests: an authority of their own, made in a moment, valid for a day or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

EXPIRED = datetime.now(UTC) - timedelta(hours=1)


class Authority:
    """An authority whose files are in a folder; ``cafile`` is what others trust."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.cafile = folder / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.cafile))

    def issue(
        self,
        name: str,
        *identities: str,
        not_after: datetime | None = None,
        not_before: datetime | None = None,
        password: str | None = None,
    ) -> Path:
        """Make a file with the key (PKCS 8, which Java wants) and the chain; its path."""
        issued = self._authority.issue_cert(
            *identities, common_name=name, not_after=not_after, not_before=not_before
        )
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        path = self._folder / f"{name}.pem"
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        path.write_bytes(text + b"".join(one.bytes() for one in issued.cert_chain_pems))
        return path
