"""Whether the machine's clock is right, beside those of other servers.

HTTP answers say the time to the second (RFC 9110, section 6.6.1). No certificate is verified for
that: with a wrong clock none may seem valid. The median of all is taken for the truth.
"""

import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.web import unverified_is_meant
from chatmail_relay.doctor.world import World

TOLERANCE = 30.0
"""Seconds."""
TIMEOUT = 10.0
"""Seconds for an answer; all are asked at once, and one of several is enough."""
DEBIAN = "https://deb.debian.org/"


def look(world: World, peer_domain: str) -> Finding:
    """Ask the servers this relay has to do with for the time."""
    unverified_is_meant()
    places = tuple(_places(world, peer_domain))
    with ThreadPoolExecutor(len(places)) as pool:
        found = pool.map(lambda place: _difference(world, place), places)
        return judge([each for each in found if each is not None])


def _places(world: World, peer_domain: str) -> Iterator[str]:
    settings = world.settings
    if settings.notification_url:
        yield f"https://{urlsplit(settings.notification_url).netloc}/"
    if peer_domain:
        yield f"https://{peer_domain}/"
    if settings.tls_mode == "acme":
        yield settings.acme_directory
    yield DEBIAN


def _difference(world: World, url: str) -> float | None:
    """How many seconds this machine is ahead of a server; None when it does not say."""
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False
            before = world.clock()
            # Not verified: where the clock is wrong no certificate may seem right.
            answer = session.head(url, timeout=TIMEOUT, verify=False, allow_redirects=False)
            after = world.clock()
        said = parsedate_to_datetime(answer.headers["Date"]).replace(tzinfo=UTC).timestamp()
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return (before + after) / 2 - (said + 0.5)


def judge(differences: Sequence[float]) -> Finding:
    """Whether the clock agrees with those of others, by so many seconds each."""
    if not differences:
        return skipped("no other server said what time it is")
    ahead = statistics.median(differences)
    asked = f"{len(differences)} server{'s' if len(differences) > 1 else ''}"
    if abs(ahead) <= TOLERANCE:
        return fine(f"right to {max(1, round(abs(ahead)))} s, as {asked} say")
    way = "ahead" if ahead > 0 else "behind"
    return fault(
        f"the clock is {round(abs(ahead))} s {way}, as {asked} say",
        meaning="certificates, signatures and the passwords of calls are valid for a time only; "
        "others refuse what comes from the future or the past",
        cause="nothing sets the clock: no NTP service runs, or its packets (UDP port 123) are lost",
        command="timedatectl status",
    )
