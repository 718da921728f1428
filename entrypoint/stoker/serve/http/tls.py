"""TLS with certificates that are read again when they change, so that renewing one takes no restart."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.serve.http.watched import WatchedFiles

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. With `client_ca`, clients must show a certificate that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


def reloading_context(files: TlsFiles) -> ssl.SSLContext:
    """For a server. Each handshake takes place in a context of the files as they are; while they cannot be used (the
    certificate has been replaced and its key not yet), in that of the files as they last could. UsageError at first."""
    watched = WatchedFiles(files.paths)
    current = _context(files)

    def choose(connection: Any, _: str | None, __: ssl.SSLContext) -> None:
        nonlocal current
        if watched.changed():
            current = _reread(files, current)
        connection.context = current

    first = _context(files)
    first.sni_callback = choose  # called in every handshake, whether or not the client names a server
    return first


def _reread(files: TlsFiles, current: ssl.SSLContext) -> ssl.SSLContext:
    try:
        changed = _context(files)
    except UsageError as error:
        logger.error("certificate reload failed; keeping the current one: %s", error)
        return current
    logger.info("read %s again", files.certificate)
    return changed


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
        if files.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(files.client_ca)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(map(str, files.paths))
        raise UsageError(f"TLS cannot be served from {names}", why=str(error), remedy="give PEM files") from error
    return context


def _no_password() -> str:
    """OpenSSL would ask for that of an encrypted key on the terminal."""
    return ""
