"""HTTPS to an address, as if by name: the name goes into TLS and is what the certificate is for."""

from typing import Any

from requests.adapters import HTTPAdapter


class NamedAdapter(HTTPAdapter):
    """Connections that ask for NAME (SNI) and want a certificate for it, whatever the URL says."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(
            *args, server_hostname=self._name, assert_hostname=self._name, **kwargs
        )
