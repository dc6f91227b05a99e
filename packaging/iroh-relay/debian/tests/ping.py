#!/usr/bin/python3
"""The relay starts as an ordinary user, answers what apps ask it, and ends when it is told to."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

PROGRAM = "/usr/sbin/iroh-relay"
PORT = 34567
SECONDS = 30.0
SETTINGS = f"""\
enable_relay = true
http_bind_addr = "127.0.0.1:{PORT}"
enable_stun = false
enable_quic_addr_discovery = false
enable_metrics = false
"""
UPGRADE = {"Connection": "Upgrade", "Upgrade": "iroh derp http"}


def status(path: str, headers: Mapping[str, str]) -> int:
    """The status of the answer, once there is one."""
    deadline = time.monotonic() + SECONDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
        try:
            connection.request("GET", path, headers=dict(headers))
            return connection.getresponse().status
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
        finally:
            connection.close()
        time.sleep(0.1)


def main() -> None:
    """Do all of it; what is not so ends it with a traceback."""
    subprocess.run([PROGRAM, "--help"], stdout=subprocess.DEVNULL, check=True)
    settings = Path(os.environ["AUTOPKGTEST_TMP"], "relay.toml")
    settings.write_text(SETTINGS, encoding="utf-8")
    env = {**os.environ, "RUST_LOG": "warn", "NO_COLOR": "1"}
    relay = subprocess.Popen([PROGRAM, "--config-path", str(settings)], env=env)
    try:
        for path, headers, wanted in (
            ("/ping", {}, 200),
            ("/generate_204", {}, 204),
            ("/relay", UPGRADE, 101),
        ):
            answer = status(path, headers)
            print(f"{path}: {answer}")
            assert answer == wanted, path
        relay.send_signal(signal.SIGINT)
        assert relay.wait(SECONDS) == 0
    finally:
        relay.kill()


if __name__ == "__main__":
    main()
