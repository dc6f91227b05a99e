"""The browser's pipe: answers among events, what is noted of a visit, and a browser that dies."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devtools import browser
from devtools.browser import Browser, Screen
from devtools.progress import Progress
from devtools.run import Failure

FAKE = """
import json, sys
def say(**message):
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\\0")
    sys.stdout.buffer.flush()
def ask():
    read = bytearray()
    while (byte := sys.stdin.buffer.read(1)) not in (b"\\0", b""):
        read += byte
    return json.loads(read) if read else sys.exit()
RESULTS = json.loads(sys.argv[1])
while True:
    message = ask()
    method = message["method"]
    for event in RESULTS.get("events " + method, []):
        say(method=event[0], params=event[1])
    answer = RESULTS.get(method, {"targetId": "t", "sessionId": "s"})
    if answer == "die":
        print("no such display", file=sys.stderr)
        sys.exit(1)
    if "error" in answer:
        say(id=message["id"], error=answer["error"])
    else:
        say(id=message["id"], result=answer)
"""

Start = Callable[..., Browser]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Gives a browser that answers each method with what is told, after the events told."""

    @contextmanager
    def overlay(_base: Path, _name: str) -> Iterator[Path]:
        yield tmp_path / "root"

    def made(results: dict[str, object]) -> Browser:
        command = [sys.executable, "-c", FAKE, json.dumps(results)]
        monkeypatch.setattr(browser, "inside", lambda *_args, **_options: command)
        return Browser(Progress("test"))

    monkeypatch.setattr("devtools.browser.roots.overlay", overlay)
    monkeypatch.setattr(browser, "programs", lambda _progress: tmp_path)
    return made


def test_what_a_visit_notes(start: Start) -> None:
    """Addresses, bytes and complaints come as events, before and after the answer."""
    events = [
        ("Network.requestWillBeSent", {"request": {"url": "https://a.lab/"}}),
        ("Network.requestWillBeSent", {"request": {"url": "https://a.lab/style.css"}}),
        ("Network.loadingFinished", {"encodedDataLength": 1200}),
        ("Network.loadingFinished", {"encodedDataLength": 34.0}),
        ("Log.entryAdded", {"entry": {"text": "refused", "url": "https://b.lab/"}}),
        ("Page.loadEventFired", {}),
    ]
    with start({"events Page.navigate": events}) as running:
        visit = running.open("https://a.lab/", Screen(320, 568))
    assert visit.requests == ["https://a.lab/", "https://a.lab/style.css"]
    assert visit.transferred == 1234
    assert visit.errors == ["refused https://b.lab/"]


def test_values_of_a_page(start: Start) -> None:
    """What an expression gives, or that it raises."""
    with start({"Runtime.evaluate": {"result": {"value": [1, 2]}}}) as running:
        assert running.evaluate("[1, 2]") == [1, 2]
    raised = {"result": {}, "exceptionDetails": "TypeError"}
    with (
        start({"Runtime.evaluate": raised}) as running,
        pytest.raises(Failure, match=r"'x\.y' raises TypeError"),
    ):
        running.evaluate("x.y")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": {"message": "no"}}, "refuses Page.captureScreenshot: .*no"),
        ("die", "does not answer; it said:\nno such display"),
    ],
)
def test_a_browser_in_trouble(start: Start, answer: object, words: str) -> None:
    """What it refuses, or said last, is in the failure."""
    with (
        start({"Page.captureScreenshot": answer}) as running,
        pytest.raises(Failure, match=words),
    ):
        running.picture()


def test_a_page_that_cannot_be_had(start: Start) -> None:
    """The address is named."""
    answer = {"errorText": "net::ERR_CONNECTION_REFUSED"}
    with (
        start({"Page.navigate": answer}) as running,
        pytest.raises(Failure, match=r"https://a\.lab/: net::ERR_CONNECTION_REFUSED"),
    ):
        running.open("https://a.lab/", Screen(320, 568))
