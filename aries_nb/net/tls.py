"""Whose certificates are trusted: the system's and Mozilla's list, and those that a company adds by a variable.

TLS is always verified. There is no way to switch it off, for a token travels there.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from aries_nb.errors import ConnectError

__all__ = ["FILE", "VARIABLES", "tls_context"]

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"  # OpenSSL's own
BUNDLE = "REQUESTS_CA_BUNDLE"  # what most companies set, for pip and requests: a file, or a folder
VARIABLES = (FILE, FOLDER, BUNDLE)


def tls_context() -> ssl.SSLContext:
    """What sockets and HTTP verify a server's certificate with. It reads files, which may take 0.1 s.

    Raises ConnectError where a variable names what cannot be read.
    """
    context = ssl.create_default_context()
    if not any(map(os.environ.get, VARIABLES)):
        import certifi

        # Some installations of Python know none of their system's.
        context.load_verify_locations(certifi.where())
    for name in (FILE, BUNDLE):
        path = Path(os.environ.get(name, ""))
        if not os.environ.get(name):
            continue
        try:
            if path.is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)  # of the first OpenSSL does not say that it is missing
        except OSError as error:  # also ssl.SSLError, of a file without a certificate
            raise ConnectError(
                f"{name} names no file of certificates",
                where=str(path),
                advice="Let it name one in PEM form, or unset it.",
            ) from error
    return context
