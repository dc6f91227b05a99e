"""A certificate is asked for when it is due, and what is in the way is said."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import requests
from chatmail_relay import acme, obtain, reach
from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Found, Tree

from tests.lab.ca import DAY, LIFETIME, Authority, Issued
from tests.unit.fakes import settings

DOMAIN = "chat.example.org"
NAMES = (DOMAIN, f"www.{DOMAIN}", f"mta-sts.{DOMAIN}")
TERMS = "https://a.lab/terms-7"


class Machine:
    """A relay in TLS mode acme, whose acmetool and authority are played."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tree = Tree(root)
        self.settings: Settings = settings(mail_domain=DOMAIN, admin_contact="a@b.lab")
        self.directory: object = {"newOrder": "x", "meta": {"termsOfService": TERMS}}
        self.status = 200
        self.missing: list[str] = []
        self.gives: Callable[[], Issued | None] = lambda: None
        self.asked = 0
        monkeypatch.setattr(requests, "get", self.get)
        monkeypatch.setattr(reach, "missing", lambda _names, _webroot: self.missing)
        monkeypatch.setattr(obtain, "run", self.acmetool)

    def get(self, _url: str, **_options: object) -> requests.Response:
        """What the authority answers."""
        if isinstance(self.directory, Exception):
            raise self.directory
        answer = requests.Response()
        answer.status_code = self.status
        answer._content = json.dumps(self.directory).encode()
        return answer

    def acmetool(self, argv: list[str], **_options: Any) -> "CompletedProcess[str]":
        """Put a certificate where acmetool does, or fail."""
        self.asked += 1
        issued = self.gives()
        if issued is None:
            return CompletedProcess(argv, 1, "", "x [CRITICAL] y: exhausted all challenges\n")
        self.put(issued)
        return CompletedProcess(argv, 0, "", "")

    def put(self, issued: Issued) -> None:
        """A certificate in acmetool's folder."""
        fullchain, privkey = acme.live(self.settings)
        self.tree.put(fullchain, Found(issued.chain.encode(), None, 0, 0, 0o644))
        self.tree.put(privkey, Found(issued.key.encode(), None, 0, 0, 0o600))

    def obtain(self, clock: Callable[[], float] = time.time) -> str:
        """What the unit does."""
        return obtain.obtain(self.settings, self.tree, clock)

    def fails(self) -> OperatorError:
        """What the unit says when it fails."""
        with pytest.raises(OperatorError) as caught:
            self.obtain()
        assert "tried again" in caught.value.hint
        return caught.value


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One without a certificate."""
    return Machine(tmp_path / "root", monkeypatch)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """What issues the certificates."""
    return Authority(tmp_path_factory.mktemp("ca"))


def test_first(machine: Machine, authority: Authority) -> None:
    """The terms as they are now are agreed to, and the certificate comes."""
    machine.gives = lambda: authority.issue(*NAMES)
    assert "new certificate" in machine.obtain()
    answers = json.loads(machine.tree.look(acme.RESPONSES).content or b"")
    assert answers == {"acme-enter-email": "a@b.lab", f"acme-agreement:{TERMS}": True}


def test_nothing_due(machine: Machine, authority: Authority) -> None:
    """Nobody is asked anything until a third of its life, a month at most, is left."""
    machine.directory = requests.ConnectionError()
    machine.put(authority.issue(*NAMES))
    assert "good until" in machine.obtain()
    assert "good until" in machine.obtain(lambda: time.time() + LIFETIME - 31 * DAY)
    machine.directory = {"newOrder": "x"}
    machine.gives = lambda: authority.issue(*NAMES, ends=2 * LIFETIME)
    assert "new certificate" in machine.obtain(lambda: time.time() + LIFETIME - 29 * DAY)


def test_other_names(machine: Machine, authority: Authority) -> None:
    """A certificate that lacks a name is no reason to wait."""
    machine.put(authority.issue(*NAMES[:2]))
    machine.gives = lambda: authority.issue(*NAMES)
    assert "new certificate" in machine.obtain()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectionError("x: Connection refused)"), "connection refused"),
        (requests.ConnectionError("[Errno -2] Name or service not known"), "not in DNS"),
        (requests.Timeout(), "no answer within 20 s"),
        (requests.exceptions.SSLError("certificate verify failed"), "not trusted here"),
    ],
)
def test_authority_out_of_reach(machine: Machine, error: Exception, words: str) -> None:
    """It is said which, and why, without a library's names."""
    machine.directory = error
    problem = machine.fails().problem
    assert machine.settings.acme_directory in problem
    assert words in problem
    assert machine.asked == 0


@pytest.mark.parametrize("directory", [[], "x", {"meta": 1}, {"newOrder": "x", "meta": 1}])
def test_no_authority(machine: Machine, directory: object) -> None:
    """Some other web page is none."""
    machine.directory = directory
    assert "no directory of a certificate authority" in machine.fails().problem


def test_status(machine: Machine) -> None:
    """Its web server has trouble."""
    machine.status = 503
    assert "503" in machine.fails().problem


def test_not_reached(machine: Machine) -> None:
    """What is missing is said, and the authority is not bothered."""
    machine.missing = ["a.lab has no address in DNS", "b.lab neither"]
    assert "no address in DNS; b.lab neither" in machine.fails().problem
    assert machine.asked == 0


def test_refused(machine: Machine, authority: Authority) -> None:
    """acmetool's failure is ours, and so is a success without a certificate that can be used."""
    assert "has given no certificate" in machine.fails().problem
    machine.gives = lambda: authority.issue(NAMES[0])
    assert "ended without" in machine.fails().problem


def test_another_mode(machine: Machine) -> None:
    """A timer that was left over asks nobody."""
    machine.settings = settings(mail_domain=DOMAIN, tls_mode="self-signed")
    machine.directory = requests.ConnectionError()
    assert "no authority" in machine.obtain()
