"""The address in a From: header: the plain ones are found, the unclear ones are not."""

import pytest
from chatmaild.mailbox import address_of, domain_of
from hypothesis import given
from hypothesis import strategies as st

FOUND = {
    b" a@b.lab": b"a@b.lab",
    b"<a@b.lab>": b"a@b.lab",
    b' "Alice" <a@b.lab>': b"a@b.lab",
    b' "Alice, B. (x) <3 \\" \\\\" <a@b.lab>': b"a@b.lab",
    b" Alice B. Carol <a@b.lab> ": b"a@b.lab",
    b"\tAlice\r\n <a@b.lab>": b"a@b.lab",
    b" =?utf-8?q?J=C3=BCrgen?= =?utf-8?B?SsO8cmdlbg==?= <a@b.lab>": b"a@b.lab",
    " Jürgen <a@b.lab>".encode(): b"a@b.lab",
    b" A.b-C_d@B.LAB": b"a.b-c_d@b.lab",
    b" <a@_b.lab>": b"a@_b.lab",
    b" <a@[192.0.2.1]>": b"a@[192.0.2.1]",
    b" a@[255.250.19.0]": b"a@[255.250.19.0]",
}

UNCLEAR = {
    "empty": b"",
    "nobody": b" <>",
    "no domain": b" alice",
    "two addresses": b" a@b.lab, c@d.lab",
    "two in brackets": b" <a@b.lab>, <c@d.lab>",
    "two without a comma": b" <a@b.lab> <c@d.lab>",
    "address as a name": b" c@d.lab <a@b.lab>",
    "group": b" friends: a@b.lab;",
    "empty group": b" friends:;",
    "group around brackets": b" friends: <a@b.lab>;",
    "route": b" <@c.lab:a@b.lab>",
    "encoded word as the local part": b" =?utf-8?q?x=40y?=@b.lab",
    "encoded word into the address": b" =?utf-8?q?x <a=40?=@b.lab>",
    "encoded word that a fold cuts": b" =?utf-\r\n <8?q?x?=a@b.lab>",
    "encoded word with a quote": b' =?utf-8?q?x"?=y?=" <a@b.lab>',
    "encoded word in brackets": b" <=?utf-8?b?PGFAYj4=?=a@b.lab>",
    "comment after": b" a@b.lab (c@d.lab)",
    "comment before": b" (hello) a@b.lab",
    "comment inside": b" a(hello)@b.lab",
    "comment in brackets": b" <a@b.lab(hello)>",
    "brackets twice": b" <<a@b.lab>>",
    "no closing bracket": b" <a@b.lab",
    "text after": b" <a@b.lab> c",
    "quoted local part": b' "a"@b.lab',
    "quoted local part in brackets": b' <"a"@b.lab>',
    "two at signs": b" <a@c@b.lab>",
    "space in the address": b" <a @b.lab>",
    "fold in the address": b" <a@\r\n b.lab>",
    "fold before all": b"\r\n <a@b.lab>",
    "dot at the end": b" <a@b.lab.>",
    "two dots": b" <a..c@b.lab>",
    "literal with two dots": b" <a@[1..2.3.4]>",
    "literal of three numbers": b" <a@[1.2.3]>",
    "literal of five numbers": b" <a@[1.2.3.4.5]>",
    "literal beyond a byte": b" <a@[1.2.3.256]>",
    "literal with a leading zero": b" <a@[1.2.3.04]>",
    "literal in hexadecimal": b" <a@[0x1.2.3.4]>",
    "literal with a space": b" <a@[1.2.3.4 ]>",
    "literal that goes on": b" <a@[1.2.3.4].lab>",
    "literal of letters": b" <a@[b.lab]>",
    "literal for IPv6": b" <a@[IPv6:2001:db8::1]>",
    "literal without brackets around all": b" <a@[1.2.3.4>",
    "open quote": b' "Alice <a@b.lab>',
    "tab and NUL": b" A\0\t<a@b.lab>",
    "address in a quoted name": b' "<c@d.lab>" <a@b.lab>',
    "address in an encoded word": b" =?utf-8?q?c=40d=2Elab?= <a@b.lab>",
    "address in a base64 word": b" =?utf-8?B?PGNAZC5sYWI+?= <a@b.lab>",
    "bracket in an encoded word": b" =?utf-8?q?=3C?= <a@b.lab>",
    "newline in an encoded word": b" =?utf-8?q?x=0D=0AFrom=3A?= <a@b.lab>",
    "unknown charset": b" =?utf-7?q?c+AEA-d?= <a@b.lab>",
    "unknown encoding": b" =?utf-8?x?abc?= <a@b.lab>",
    "broken encoded word": b" =?utf-8?B?PGNAZC5sYWI <a@b.lab>",
    "broken base64": b" =?utf-8?B?PGN?= <a@b.lab>",
    "encoded address": b" =?utf-8?q?a=40b=2Elab?=",
    "encoded local part": b" <=?utf-8?q?a?=@b.lab>, x",
    "very long": b' "' + b"x" * 5000 + b'" <a@b.lab>',
}


@pytest.mark.parametrize("value", FOUND)
def test_finds_the_address(value: bytes) -> None:
    """Bare, in brackets, after a name that is quoted, encoded, folded or not."""
    assert address_of(value, strict=True) == FOUND[value]
    assert address_of(value, strict=False) == FOUND[value]


@pytest.mark.parametrize("value", UNCLEAR.values(), ids=UNCLEAR)
def test_in_doubt_there_is_none(value: bytes) -> None:
    """Whatever another reader could take for a different address, or hides one."""
    assert address_of(value, strict=True) is None


@pytest.mark.parametrize("what", [what for what in UNCLEAR if what.startswith("encoded word ")])
def test_no_reader_decodes_the_address(what: str) -> None:
    """From outside, too, no encoded word reaches into the address."""
    assert address_of(UNCLEAR[what], strict=False) is None


def test_reports_have_comments() -> None:
    """From outside one comment before or after passes, unless an address is in it."""
    for value in (b" MAILER-DAEMON@b.lab (Mail Delivery System)", b"(x) <mailer-daemon@b.lab>"):
        assert address_of(value, strict=True) is None
        assert address_of(value, strict=False) == b"mailer-daemon@b.lab"
    for value in (b" a@b.lab (c@d.lab)", b" a@b.lab (x) (y)", b" a@b.lab, c@d.lab"):
        assert address_of(value, strict=False) is None


@given(st.binary(max_size=60), st.booleans())
def test_never_stumbles(noise: bytes, strict: bool) -> None:
    """Any bytes: no exception, and what is found stands in the header as it is."""
    value = noise.replace(b"\r", b"").replace(b"\n", b"")
    found = address_of(value, strict=strict)
    assert found is None or found in value.decode().lower().encode()


@given(st.lists(st.sampled_from(list('a.@<>",:;()\\ \t')) | st.just("b@c.lab"), max_size=12))
def test_one_at_sign_outside_quotes(words: list[str]) -> None:
    """Whatever is accepted names no second address outside of a quoted name."""
    value = "".join(words)
    found = address_of(value.encode(), strict=True)
    if found is not None and '"' not in value:
        assert value.count("@") == 1
        assert not set(value) & set("(),:;\\")


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        (b"a@B.lab", b"b.lab"),
        ("a@bücher.lab".encode(), b"xn--bcher-kva.lab"),
        (b"a@\xff.lab", b""),
        ("a@" + "ü" * 70 + ".lab", b""),
    ],
)
def test_domains_as_dns_knows_them(address: bytes | str, domain: bytes) -> None:
    """Two spellings of one domain are one domain; what is none is empty."""
    assert domain_of(address.encode() if isinstance(address, str) else address) == domain
