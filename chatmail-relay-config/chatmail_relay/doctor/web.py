"""What the relay serves and needs over HTTP: MTA-STS, streams, addresses, notifications."""

import json
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from chatmail_relay import certificate
from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.naming import LITERAL
from chatmail_relay.doctor.tls import fingerprint
from chatmail_relay.doctor.world import World
from chatmail_relay.zone.needed import POLICY

OK, FORBIDDEN, SERVER_ERROR = 200, 403, 500


def mta_sts(world: World) -> Finding:
    """Ask for the policy as other servers do (RFC 8461)."""
    domain = world.settings.mail_domain
    if world.settings.is_address_literal:
        return skipped(LITERAL)
    status, text = _ask_here(world, f"mta-sts.{domain}", f"/{POLICY}")
    return judge_policy(status, text, domain)


def judge_policy(status: int, text: str, domain: str) -> Finding:
    """Whether the answer is a policy by which others deliver to DOMAIN's own host."""
    url = f"https://mta-sts.{domain}/{POLICY}"
    problem = "" if status == OK else f"the answer is {status}: {text[:80]}"
    if not problem:
        lines = [line.partition(":") for line in text.splitlines() if ":" in line]
        fields = [(key.strip(), value.strip()) for key, _colon, value in lines]
        if ("version", "STSv1") not in fields:
            problem = "it is no policy"
        elif ("mx", domain) not in fields:
            problem = f"it does not name {domain} as mail host"
    if not problem:
        return fine(f"the policy is served at {url}")
    return fault(
        f"{url}: {problem}",
        meaning="servers that have seen the policy before, and those that insist on one, do not "
        "deliver",
        cause="the file is missing, or another site of this machine answers by that name",
        command="chatmail-relay apply; nginx -T -c /etc/nginx/chatmail-relay.conf",
    )


def streams(world: World) -> Finding:
    """Ask the relay for streams whether it is there, as apps do."""
    settings = world.settings
    url = settings.iroh_relay_url
    if not url:
        return skipped("iroh_relay = none, so apps are told of no relay for streams")
    if settings.runs_iroh_relay:
        scheme = urlsplit(url).scheme
        status, text = _ask_here(world, settings.mail_domain, "/ping", scheme)
    else:
        status, text = _ask(world, f"{url.rstrip('/')}/ping")
    return judge_streams(status, text, url)


def judge_streams(status: int, text: str, url: str) -> Finding:
    """Whether the relay at URL has answered."""
    if status == OK:
        return fine(f"{url}/ping answers")
    return fault(
        f"{url}/ping does not answer as it should: {status or 'nothing'} {text[:80]}".rstrip(),
        meaning="apps cannot find each other for streams, as in games and transfers of a profile",
        cause="iroh-relay or nginx does not run as configured, or port 443 is closed",
        command="journalctl --namespace=chatmail -u chatmail-iroh-relay -u nginx -n 20",
    )


def join(world: World) -> Finding:
    """Have an address handed out, as apps do for a new user; no account comes of it."""
    settings = world.settings
    form = {"invite": settings.invite_token} if settings.registration == "invite" else {}
    status, text = _ask_here(world, settings.mail_domain, "/new", form=form)
    if settings.registration == "closed":
        return judge_closed(status, text)
    return judge_join(status, text, settings.address_domain)


def judge_join(status: int, text: str, domain: str) -> Finding:
    """Whether the answer is an address of DOMAIN with a password."""
    if status != OK:
        return _nobody_joins(f"the answer is {status or 'none'}: {text[:80]}")
    given = _fields(text)
    if not given.get("email", "").endswith(f"@{domain}") or not given.get("password"):
        return _nobody_joins(f"the answer has no address of {domain} and password")
    return fine("/new hands out addresses")


def judge_closed(status: int, text: str) -> Finding:
    """Whether the answer says that nobody can join."""
    if status == FORBIDDEN and _fields(text).get("reason"):
        return fine("/new says that registration is closed")
    return _nobody_joins(f"registration is closed, and the answer is {status or 'none'}")


def _fields(text: str) -> dict[str, str]:
    try:
        given = json.loads(text)
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}


def _nobody_joins(problem: str) -> Finding:
    return fault(
        f"/new does not answer as it should: {problem}",
        meaning="nobody can join by the web page or its code",
        cause="newemail or nginx does something else than it is there for",
        command="journalctl --namespace=chatmail -u newemail -u nginx -n 20",
    )


def notifications(world: World) -> Finding:
    """See whether the server that wakes phones up can be reached; it is told nothing."""
    url = world.settings.notification_url
    if not url:
        return skipped("notification_url is empty, so nobody is notified")
    status, text = _ask(world, url)
    return judge_notifications(status, text, url)


def judge_notifications(status: int, text: str, url: str) -> Finding:
    """Whether anything has answered: what is asked is no notification, so a refusal is right."""
    host = urlsplit(url).netloc
    if 0 < status < SERVER_ERROR:
        return fine(f"{host} answers")
    return fault(
        f"the notification server {host} cannot be reached: {status or ''} {text[:160]}".replace(
            ":  ", ": "
        ),
        meaning="phones are not woken up by new mail; apps see it when they are opened",
        cause="the server is down, or this machine's way out over HTTPS is blocked",
        command=f"curl -v {url}",
    )


def unverified_is_meant() -> None:
    """Have the library not warn of requests for which a certificate does not matter."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _ask_here(
    world: World,
    name: str,
    path: str,
    scheme: str = "https",
    form: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Status and text of this machine's answer; 0 and the reason when there is none.

    With a FORM that is posted.
    """
    import requests  # here, since it takes long to load

    from chatmail_relay.webprobe import NamedAdapter

    pair = certificate.read(world.tree, world.settings.certificate, world.settings.private_key)
    own = fingerprint(ssl.PEM_cert_to_DER_cert(pair.chain[0]))
    host = f"[{world.here}]" if ":" in world.here else world.here
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", NamedAdapter(name, own))
        url, headers = f"{scheme}://{host}{path}", {"Host": name}
        return _request(session, world, url, headers, verify=False, form=form)


def _ask(world: World, url: str) -> tuple[int, str]:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return _request(session, world, url, {}, verify=True)


def _request(
    session: "requests.Session",  # type: ignore[name-defined]  # noqa: F821
    world: World,
    url: str,
    headers: Mapping[str, str],
    *,
    verify: bool,
    form: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    try:
        answer = session.request(
            "GET" if form is None else "POST",
            url,
            data=form,
            headers=headers,
            timeout=world.timeout,
            verify=verify,
            allow_redirects=False,
        )
    except OSError as error:
        return 0, _reason(error)
    return answer.status_code, answer.text.strip()


def _reason(error: BaseException) -> str:
    """The innermost words of a library's error about errors."""
    words = str(error)
    for mark in ("[Errno", "certificate verify failed", "timed out", "Name or service"):
        if mark in words:
            return words[words.index(mark) :].split("'")[0].split("(_ssl")[0].rstrip(' )"')
    return words[:160]
