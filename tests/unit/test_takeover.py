"""A renewed certificate is in use without an apply, or it is said why not."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import Plan
from chatmail_relay.system import Absent
from chatmail_relay.takeover import SETTLING, take_over
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import DOVECOT, NGINX, POSTFIX

from tests.lab.ca import DAY, Authority, Issued
from tests.unit.fakes import settings

DOMAIN = "chat.example.org"
NAMES = (DOMAIN, f"www.{DOMAIN}", f"mta-sts.{DOMAIN}")
CERTIFICATE = PurePosixPath("/srv/tls/cert.pem")
KEY = PurePosixPath("/srv/tls/key.pem")
USERS = (DOVECOT, POSTFIX, NGINX)


class System(Absent):
    """Takes notes; what is in STOPPED does not run, a BROKEN unit does not answer."""

    def __init__(self) -> None:
        self.reloaded: list[str] = []
        self.stopped: set[str] = set()
        self.broken = False

    def inactive(self, units: Sequence[str]) -> list[str]:
        return [unit for unit in units if unit in self.stopped]

    def reload(self, unit: str) -> None:
        self.reloaded.append(unit)

    def ask(self, unit: str) -> None:
        if self.broken:
            raise OperatorError(f"{unit} does not answer")


class Relay:
    """A relay in TLS mode external, that has a certificate."""

    def __init__(self, root: Path, authority: Authority) -> None:
        self.tree, self.system, self.authority = Tree(root), System(), authority
        self.settings = settings(
            mail_domain=DOMAIN,
            tls_mode="external",
            tls_certificate_file=str(CERTIFICATE),
            tls_private_key_file=str(KEY),
        )
        self.slept = 0.0
        self.during: Callable[[], None] = lambda: None
        self.renew(self.issue())
        self.take()
        self.system.reloaded.clear()

    def issue(self, **dates: int) -> Issued:
        """A certificate of the lab's authority."""
        return self.authority.issue(*NAMES, **dates)

    def renew(self, issued: Issued, key: Issued | None = None) -> None:
        """What the program of the admin does."""
        chain = issued.chain + self.authority.root
        self.tree.put(CERTIFICATE, Found(chain.encode(), None, 0, 0, 0o644))
        self.tree.put(KEY, Found((key or issued).key.encode(), None, 0, 0, 0o600))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept += seconds
        self.during()

    def take(self, clock: Callable[[], float] = time.time) -> str:
        """What the command does."""
        said: list[str] = []
        plan = Plan(self.settings, (), (), USERS)
        return take_over(plan, self.tree, self.system, said.append, clock=clock, sleep=self.sleep)

    def served(self) -> bytes:
        """The file that the daemons read."""
        return self.tree.look(self.settings.certificate).content or b""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """What issues the certificates."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def relay(tmp_path: Path, authority: Authority) -> Relay:
    """One that runs."""
    return Relay(tmp_path / "root", authority)


def test_renewed(relay: Relay) -> None:
    """The daemons are told once, and a second look does nothing."""
    renewed = relay.issue()
    relay.renew(renewed)
    assert "good until" in relay.take()
    assert renewed.leaf.encode() in relay.served()
    assert renewed.key.encode() in relay.served()
    assert relay.system.reloaded == list(USERS)
    relay.take()
    assert relay.system.reloaded == list(USERS)


def test_one_after_the_other(relay: Relay) -> None:
    """A key that comes a moment after its certificate is waited for."""
    renewed = relay.issue()
    relay.renew(renewed, key=relay.issue())
    relay.during = lambda: relay.renew(renewed)
    relay.take()
    assert renewed.leaf.encode() in relay.served()
    assert 0 < relay.slept < SETTLING


def test_refused(relay: Relay) -> None:
    """What does not fit is not taken, the one before stays, and it is a failure."""
    before = relay.served()
    relay.renew(relay.issue(), key=relay.issue())
    with pytest.raises(OperatorError, match="the private key is not its own") as caught:
        relay.take()
    assert str(CERTIFICATE) in caught.value.problem
    assert "the present one stays" in caught.value.hint
    assert relay.served() == before
    assert relay.system.reloaded == []


def test_a_daemon_does_not_answer(relay: Relay) -> None:
    """The one before is back."""
    before = relay.served()
    relay.renew(relay.issue())
    relay.system.broken = True
    with pytest.raises(OperatorError, match="does not answer"):
        relay.take()
    assert relay.served() == before


def test_a_stopped_daemon_stays_stopped(relay: Relay) -> None:
    """It reads the file when it starts."""
    relay.system.stopped = {NGINX}
    relay.renew(relay.issue())
    relay.take()
    assert relay.system.reloaded == [DOVECOT, POSTFIX]


def test_nobody_renews(relay: Relay) -> None:
    """Two weeks before its end it is a failure, while it is still served."""
    relay.renew(relay.issue(starts=-80 * DAY, ends=15 * DAY))
    assert "good until" in relay.take()
    with pytest.raises(OperatorError, match="nobody has renewed it"):
        relay.take(lambda: time.time() + 2 * DAY)


def test_first_one_is_awaited(tmp_path: Path, authority: Authority) -> None:
    """Before an authority has given one it is no failure here: who asks for it says why."""
    relay = Relay(tmp_path / "root", authority)
    relay.settings = settings(mail_domain=DOMAIN, tls_mode="acme")
    assert "has not given a certificate yet" in relay.take()
    assert relay.slept == 0
