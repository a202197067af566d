"""Which certificates of servers are trusted."""

from __future__ import annotations

import ssl
from pathlib import Path

from sutro_stream.errors import ConfigurationError


def trusted_certificates(ca_file: Path | None = None) -> ssl.SSLContext:
    """Those that this machine trusts, as OpenSSL and `SSL_CERT_FILE` have it.

    Takes a while: there are many.

    Args:
        ca_file: Authorities to trust beside them (PEM), `None` for no others.

    Raises:
        ConfigurationError: The file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise ConfigurationError(
                f"ca_file {ca_file}: holds no certificate in PEM, which begins with "
                "-----BEGIN CERTIFICATE-----"
            ) from None
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(f"ca_file {ca_file}: {reason}") from None
    # Neither transport speaks HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    return context
