"""What the daemons do without, each tried in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fresh(code: str) -> str:
    """What a new Python prints that runs `code`."""
    folders = f"{ROOT / 'chatmaild'}:{ROOT / 'chatmail-relay-config'}"
    command = [sys.executable, "-c", f"import sys\n{code}"]
    environment = os.environ | {"PYTHONPATH": folders}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "name", ["doveauth", "lastlogin", "metadata", "newemail", "filtermail", "mxdeliv", "deliver"]
)
def test_no_openssl(name: str) -> None:
    """No idle daemon has OpenSSL in its memory."""
    loaded = fresh(f"import chatmaild.{name}; print(*sys.modules)").split()
    assert f"chatmaild.{name}" in loaded
    assert not {"ssl", "_ssl", "_hashlib", "argparse"} & set(loaded)


def test_ssl_stays_importable() -> None:
    """Only asyncio was told that there is none."""
    assert fresh("import chatmaild.lean, ssl; print(ssl.CERT_NONE.name)") == "CERT_NONE"


def test_asyncio_is_complete_after_ssl() -> None:
    """Who imports ssl first has TLS in asyncio."""
    code = "import ssl\nfrom chatmaild.lean import asyncio\nprint(asyncio.sslproto.ssl is ssl)"
    assert fresh(code) == "True"


def test_uvloop_without_tls(tmp_path: Path) -> None:
    """uvloop works on unix sockets without it."""
    code = f"path = {str(tmp_path / 'socket')!r}"
    code += """
from chatmaild.lean import asyncio, import_without_tls
uvloop = import_without_tls("uvloop")
async def main():
    server = await asyncio.start_unix_server(lambda r, w: w.close(), path)
    reader, _ = await asyncio.open_unix_connection(path)
    return await reader.read()
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    print(runner.run(main()), "ssl" in sys.modules, "_ssl" in sys.modules)
"""
    assert fresh(code) == "b'' False False"


def test_deferred_modules_work() -> None:
    """A stand-in becomes its module when it is used, however it was imported."""
    code = """
import chatmaild, ast, locale
from tokenize import NL
print(ast.literal_eval("[1]"), type(sys.modules["ast"]).__name__)
print(NL > 0, locale.localeconv()["decimal_point"])
try:
    1 / 0
except ZeroDivisionError:
    import traceback
    print(traceback.format_exc().splitlines()[-1])
"""
    lines = fresh(code).splitlines()
    assert lines == [
        "[1] module",
        "True .",
        "ZeroDivisionError: division by zero",
    ]


def test_aiosmtpd_is_whole() -> None:
    """What was left out of it when the server was imported still works when it is used."""
    code = """
import chatmaild.smtpserver, aiosmtpd.smtp
print("email._header_value_parser" in sys.modules)
server = object.__new__(aiosmtpd.smtp.SMTP)
print(server._getaddr("<a@b.lab> SIZE=9"))
print(type(sys.modules["email._header_value_parser"]).__name__)
"""
    assert fresh(code).splitlines() == ["False", "('a@b.lab', 'SIZE=9')", "module"]
