"""What is found out about the machine."""

from pathlib import Path

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.host import read_host

from tests.unit.test_cli import STATUS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with the daemons of Debian 13."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS, encoding="utf-8")
    return tmp_path


def test_versions(root: Path) -> None:
    """Major and minor, without epoch, Debian's revision and build suffixes."""
    host = read_host(root)
    assert (host.dovecot, host.nginx, host.postfix) == ("2.4", (1, 26), (3, 10))
    assert host.cpus >= 1


def test_debian_12(root: Path) -> None:
    """The older Dovecot has another language."""
    status = root / "var/lib/dpkg/status"
    status.write_text(STATUS.replace("1:2.4.1+dfsg1-6", "1:2.3.19.1+dfsg1-2.1+deb12u1"))
    assert read_host(root).dovecot == "2.3"


def test_missing(root: Path) -> None:
    """What is not there is named."""
    (root / "var/lib/dpkg/status").write_text(STATUS.partition("Package: postfix")[0])
    with pytest.raises(OperatorError, match="not installed: postfix"):
        read_host(root)
