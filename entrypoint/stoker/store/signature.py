"""Signatures with cosign's keys: ECDSA over P-256 and SHA-256, public keys in PEM, private ones in PEM or as cosign
encrypts them (scrypt and NaCl's secretbox, the passphrase in COSIGN_PASSWORD).

`cosign generate-key-pair` makes such a pair; so does openssl (docs/store.md). What is signed of an engine is
engine.json, which names every other file's SHA-256:
`cosign verify-blob --key cosign.pub --signature engine.json.sig engine.json`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.errors import UsageError
from stoker.installing import with_extra
from stoker.json_text import parse_json
from stoker.store.remotes.remote import Signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

_ENCRYPTED = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_SCRYPT_MEMORY = 1 << 28


def check_keys(public_key: Path | None, private_key: Path | None) -> None:
    """UsageError for one that cannot be used, or where the library that reads it is not installed."""
    try:
        if public_key is not None:
            _public_key(public_key)
        if private_key is not None:
            _private_key(private_key)
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed", why="signatures need it", remedy=with_extra("remotes")
        ) from error


def sign(private_key: Path, payload: bytes) -> bytes:
    """DER. UsageError for a key that cannot be used."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    return _private_key(private_key).sign(payload, ECDSA(SHA256()))


def is_signed(public_key: Path, signed: Iterable[Signed]) -> bool:
    """Whether one of them verifies. UsageError for a key that cannot be used."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    key = _public_key(public_key)
    for each in signed:
        try:
            key.verify(each.signature, each.payload, ECDSA(SHA256()))
        except InvalidSignature:
            continue
        return True
    return False


def _public_key(path: Path) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _bad_key(path, str(error)) from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise _bad_key(path, "it is not an ECDSA key")
    return key


def _private_key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    try:
        text = path.read_text()
        if any(f"BEGIN {label}" in text for label in _ENCRYPTED):
            key: object = load_der_private_key(_decrypted(text), None)
        else:
            key = load_pem_private_key(text.encode(), None)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _bad_key(path, str(error)) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _bad_key(path, "it is not an ECDSA key")
    return key


def _decrypted(pem: str) -> bytes:
    """cosign's own envelope: https://github.com/secure-systems-lab/go-securesystemslib/tree/main/encrypted"""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    body = "".join(line for line in pem.splitlines() if line and not line.startswith("-----"))
    box = parse_json(base64.b64decode(body))
    cost = box["kdf"]["params"]
    key = hashlib.scrypt(
        os.environ.get("COSIGN_PASSWORD", "").encode(),
        salt=base64.b64decode(box["kdf"]["salt"]),
        n=cost["N"],
        r=cost["r"],
        p=cost["p"],
        maxmem=_SCRYPT_MEMORY,
        dklen=SecretBox.KEY_SIZE,
    )
    try:
        opened = SecretBox(key).decrypt(base64.b64decode(box["ciphertext"]), base64.b64decode(box["cipher"]["nonce"]))
    except CryptoError as error:
        raise ValueError("the passphrase in COSIGN_PASSWORD does not open it") from error
    return bytes(opened)


def _bad_key(path: Path, why: str) -> UsageError:
    return UsageError(f"the key {path} cannot be used", why=why, remedy="see docs/store.md for the kinds of keys")
