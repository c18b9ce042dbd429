"""TLS verification with the system's certificates, or Mozilla's list, and those that a company adds by a variable.

It cannot be switched off, since tokens are sent over these connections.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from aries_nb.errors import ConnectError

__all__ = ["FILE", "VARIABLES", "tls_context"]

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"  # OpenSSL's own
BUNDLE = "REQUESTS_CA_BUNDLE"  # set by most companies, for pip and requests: a file or a folder
VARIABLES = (FILE, FOLDER, BUNDLE)


def tls_context() -> ssl.SSLContext:
    """Return a new TLS context for WebSockets and HTTP, which verifies the server. Reads files, which may take 0.1 s.

    Raises ConnectError if a variable (SSL_CERT_FILE, REQUESTS_CA_BUNDLE) names a file that cannot be read.
    """
    context = ssl.create_default_context()
    if not any(map(os.environ.get, VARIABLES)):
        import certifi

        # Some installations of Python find none of the system's certificates.
        context.load_verify_locations(certifi.where())
    for name in (FILE, BUNDLE):
        path = Path(os.environ.get(name, ""))
        if not os.environ.get(name):
            continue
        try:
            if path.is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)  # for a missing folder OpenSSL raises nothing
        except OSError as error:  # also ssl.SSLError, of a file without a certificate
            raise ConnectError(
                f"{name} names no file of certificates",
                where=str(path),
                advice="Let it name one in PEM form, or unset it.",
            ) from error
    return context
