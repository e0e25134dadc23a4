"""TLS: certificates, contexts made from files, and why a handshake failed."""
