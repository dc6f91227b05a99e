#!/usr/bin/python3
"""Prints the copyright file of a package of wheels: ours, and of every wheel in it.

    wheels_copyright.py BASE SITE

BASE is debian/copyright of the source, SITE the environment's site-packages, before it is tidied.
The license of a wheel is what its metadata says; names and words come from its license files. A
wheel with compiled Rust says by a software bill of materials (CycloneDX) what is in that.
"""

import json
import re
import sys
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path

from dep5 import Part, document, expression, holders, read, words_of

HERE = Path(__file__).parent
OURS = ("chatmaild", "chatmail_relay_config", "chatmail_echobot")
BUILDERS = ("pip", "setuptools", "wheel")
"""What is taken out of the environment again."""

SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psf-2.0": "PSF-2.0",
}
"""What authors wrote before there were fixed names."""

KNOWN = {"deltachat_rpc_server": "MPL-2.0", "uvloop": "MIT OR Apache-2.0"}
"""What license files say of wheels whose metadata does not, or not all."""

WORDS = {
    "BSD-2-clause": None,
    "BSD-3-clause": "idna",
    "ISC": "dnspython",
    "MIT-0": "cffi",
    "PSF-2.0": "aiohappyeyeballs",
    "Unicode-3.0": None,
}
"""Whose license file has the words of a license; None says that they are in debian/words."""

NO_FILES = {
    "deltachat_rpc_server": (
        "The program is linked of the crates that Cargo.lock names in the release of the same\n"
        "version at https://github.com/chatmail/core, which is its source."
    )
}
"""What is to be said of wheels that do not say what is in them."""

NAMED = {"openssl": ("The OpenSSL Project Authors", "Apache-2.0")}
"""Who wrote what a bill of materials names without saying so."""


def infos(site: Path) -> dict[str, Path]:
    """The folders with what wheels say of themselves, by the wheel's name."""
    each = {path.name.split("-")[0]: path for path in sorted(site.glob("*.dist-info"))}
    return {name: path for name, path in each.items() if name not in (*OURS, *BUILDERS)}


def license_texts(info: Path) -> list[Path]:
    """The files of a wheel that speak of licenses."""
    kept = [*info.glob("LICENSE*"), *info.glob("NOTICE*"), *info.glob("licenses/**/*")]
    beside = info.parent / info.name.split("-")[0] / "LICENSE"
    return sorted(path for path in [*kept, beside] if path.is_file())


def terms(name: str, metadata: "Message[str, str]") -> str:
    """The license of a wheel as SPDX says it; raises ValueError when nobody says it."""
    if name in KNOWN:
        return KNOWN[name]
    said = metadata["License-Expression"]
    if said:
        return said
    for word in (metadata["License"], *_classified(metadata)):
        known = (word or "").strip()
        if known.lower() in SPDX:
            return SPDX[known.lower()]
        if re.fullmatch(r"[A-Za-z]+-?[0-9.]*|MIT|ISC", known):
            return known
    raise ValueError(f"the wheel {name} does not say its license in words we know")


def _classified(metadata: "Message[str, str]") -> Iterator[str]:
    for line in metadata.get_all("Classifier") or []:
        if line.startswith("License ::"):
            yield line.rsplit("::", 1)[1]


def parts(site: Path) -> Iterator[Part]:
    """What is in the environment beside ours."""
    for name, info in infos(site).items():
        metadata = message_from_string(read(info / "METADATA"))
        version = metadata["Version"]
        authors = [metadata[key] for key in ("Author", "Author-email", "Maintainer")]
        yield Part(
            f"wheels/{name}-{version}/*",
            holders(license_texts(info), [one for one in authors if one] or [_project(name)]),
            expression(terms(name, metadata)),
            NO_FILES.get(name, ""),
        )
        yield from _components(info, f"wheels/{name}-{version}")


def _components(info: Path, place: str) -> Iterator[Part]:
    for path in sorted(info.glob("sboms/*.json")):
        for one in json.loads(read(path)).get("components", []):
            # What is excluded helped to build it, and is not in it.
            if one.get("scope") != "excluded" and not one["name"].startswith("cryptography-"):
                yield _component(one, place)


def _component(one: dict[str, str], place: str) -> Part:
    name, version = one["name"], one["version"]
    if name in NAMED and not one.get("licenses"):
        holder, spdx = NAMED[name]
        return Part(f"{place}/{name}-{version}/*", (holder,), spdx)
    author = one.get("author") or _project(name)
    return Part(f"{place}/crates/{name}-{version}/*", (author,), expression(_spdx(one)))


def _spdx(one: dict[str, str]) -> str:
    for said in one.get("licenses") or []:
        if isinstance(said, dict) and "expression" in said:
            return str(said["expression"])
    raise ValueError(f"{one['name']} {one['version']} says no license")


def _project(name: str) -> str:
    return f"the authors of {name}"


def words(site: Path) -> dict[str, str]:
    """The words of the licenses that wheels of this environment have, by their names."""
    found = infos(site)
    texts: dict[str, str] = {}
    for name, wheel in WORDS.items():
        if wheel is None:
            texts[name] = read(HERE / "words" / name).strip()
        elif wheel in found:
            texts[name] = words_of(license_texts(found[wheel])[0])
    return texts


if __name__ == "__main__":
    base, site = map(Path, sys.argv[1:])
    sys.stdout.write(document(base.read_text(encoding="utf-8"), parts(site), words(site)))
