"""A certificate for this machine, signed by itself: phones give a page their camera only over https.

It is kept in the user's cache, so that a device has to accept it once, and made again when it runs out or
when the machine has an address that it does not name.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from i2i_sdk.device import get_cache_dir
from i2i_sdk.files import write_atomically
from i2i_sdk.server.security import list_own_names

VALIDITY = timedelta(days=820)  # Apple's systems refuse more than 825
RENEWAL_MARGIN = timedelta(days=7)  # a certificate that runs out sooner is replaced
CLOCK_MARGIN = timedelta(days=1)  # clocks differ


def ensure_self_signed(folder: Path | None = None) -> tuple[Path, Path]:
    """PEM files of a certificate for localhost, this machine's name and addresses, and of its key.

    folder: where they are kept; the user's cache by default. Clients can check the server with the
    certificate's file; the key's is for its owner's eyes only.
    """
    folder = folder or get_cache_dir() / "tls"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    needed, named = {*list_own_names(), *list_own_addresses()}, _read_names(certificate, key)
    if not needed <= named:
        _write_certificate(certificate, key, sorted(needed | named))  # so that coming home needs no third one
    return certificate, key


def list_own_addresses() -> list[str]:
    """The addresses under which this machine can be reached, loopback first. No packet is sent.

    Of IPv6 only loopback: most systems change their other addresses every day, and a certificate with them.
    """
    found = ["127.0.0.1", "::1"]
    with suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    # A host name often resolves to 127.0.1.1 only. Which address is used toward elsewhere the kernel tells
    # a UDP socket that is connected to one reserved for documentation.
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        found.append(str(probe.getsockname()[0]))
    return [*dict.fromkeys(found)]


def _read_names(certificate: Path, key: Path) -> set[str]:
    """What the certificate names; nothing if it ends soon, is damaged, or is not the key's."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        secret = serialization.load_pem_private_key(key.read_bytes(), None)
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return set()
    ends_soon = found.not_valid_after_utc - datetime.now(timezone.utc) < RENEWAL_MARGIN
    if ends_soon or found.public_key() != secret.public_key():
        return set()
    addresses = alternatives.get_values_for_type(x509.IPAddress)
    return {*alternatives.get_values_for_type(x509.DNSName), *map(str, addresses)}


def _write_certificate(certificate: Path, key: Path, names: list[str]) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    signed = _sign_certificate(secret, names).public_bytes(serialization.Encoding.PEM)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = secret.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    key.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(key) as temporary:
        temporary.touch(0o600)  # before there is anything to read
        temporary.write_bytes(private)
    with write_atomically(certificate) as temporary:
        temporary.write_bytes(signed)


def _sign_certificate(secret: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "i2i-sdk on this machine")])
    now = datetime.now(timezone.utc)
    alternatives = x509.SubjectAlternativeName([_to_general_name(name) for name in names])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_MARGIN)
        .not_valid_after(now - CLOCK_MARGIN + VALIDITY)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )


def _to_general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
