"""HTTPS to an address, as if by name: the name goes into TLS, and one certificate is right."""

import ssl
from typing import Any

from requests.adapters import HTTPAdapter


class NamedAdapter(HTTPAdapter):
    """Connections that ask for NAME (SNI) and want the certificate with a FINGERPRINT.

    Who has issued it does not matter, since it is compared with the file which the server has to
    use; so requests are made with `verify=False`.
    """

    def __init__(self, name: str, fingerprint: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._options: dict[str, Any] = {
            "ssl_context": context,
            "server_hostname": name,
            "assert_fingerprint": fingerprint,
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **{**kwargs, **self._options})
