"""Copyright files of packages that carry libraries: names, licenses and words of each."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from devtools.sources import REPOSITORY

BASE = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 us
License: Expat

License: Expat
 Words.
"""


def loaded(path: str) -> ModuleType:
    """The program at PATH of the repository, which finds what lies beside debian/dep5.py."""
    sys.path.insert(0, str(REPOSITORY / "debian"))
    try:
        name = Path(path).stem
        spec = importlib.util.spec_from_file_location(name, REPOSITORY / path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(REPOSITORY / "debian"))


dep5 = loaded("debian/dep5.py")
wheels = loaded("debian/wheels_copyright.py")
modules = loaded("packaging/chatmail-turn/debian/modules_copyright.py")


@pytest.mark.parametrize(
    ("line", "holder"),
    [
        ("Copyright (c) 2015 Somebody", "2015 Somebody"),
        ("   Copyright 2013-2019 A and B.", "2013-2019 A and B"),
        ("// Copyright © 2020-2024 Unicode, Inc.", "2020-2024 Unicode, Inc"),
        ("Copyright (C) 1991 - 1995, Mathematisch Centrum,", "1991 - 1995, Mathematisch Centrum"),
        ("Copyright aio-libs contributors.", "aio-libs contributors"),
        ("Copyright (c) 2023", "otherwise"),
        ("Copyright [yyyy] [name of copyright owner]", "otherwise"),
        ("copyright notice, this list of 2 conditions", "otherwise"),
        ("Copyright and License", "otherwise"),
    ],
)
def test_holders_are_read_in_license_files(tmp_path: Path, line: str, holder: str) -> None:
    """Who holds a copyright is told from the words of licenses about it."""
    (tmp_path / "LICENSE").write_text(f"MIT\n\n{line}\nPermission is granted\n", encoding="utf-8")
    assert dep5.holders(dep5.license_files(tmp_path), ["otherwise"]) == (holder,)


def test_somebody_wrote_everything(tmp_path: Path) -> None:
    """A library that does not say whose it is ends the build."""
    with pytest.raises(ValueError, match="nobody says who wrote"):
        dep5.holders([], [])


@pytest.mark.parametrize(
    ("spdx", "said"),
    [
        ("MIT", "Expat"),
        ("MIT/Apache-2.0", "Expat or Apache-2.0"),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", "Expat or Apache-2.0, and Unicode-3.0"),
        ("Apache-2.0 AND BSD-2-Clause", "Apache-2.0, and BSD-2-clause"),
    ],
)
def test_licenses_are_said_as_debian_does(spdx: str, said: str) -> None:
    """SPDX's names and operators become those of Debian's format."""
    assert dep5.expression(spdx) == said


def test_a_document_has_each_part_and_each_license_once() -> None:
    """Parts follow the source's own file, and then the words of licenses it does not have."""
    parts = [
        dep5.Part("a/*", ("A", "B"), "Expat or Apache-2.0"),
        dep5.Part("b/*", ("C",), "ISC", "said\n\nabout it"),
    ]
    text = dep5.document(BASE, parts, {"ISC": "Some words."})
    assert text.startswith(BASE)
    assert "Files: a/*\nCopyright: A\n B\nLicense: Expat or Apache-2.0\n\n" in text
    assert "License: ISC\nComment:\n said\n .\n about it\n" in text
    assert text.count("License: Expat\n") == BASE.count("License: Expat\n")
    assert "/usr/share/common-licenses/Apache-2.0" in text
    assert text.endswith("License: ISC\n Some words.\n")


def test_a_license_without_words_ends_the_build() -> None:
    """A library with a license of which nobody has the words is noticed."""
    with pytest.raises(ValueError, match="what the license Odd-1 is"):
        dep5.document(BASE, [dep5.Part("a/*", ("A",), "Odd-1")], {})


def wheel(site: Path, name: str, *lines: str) -> Path:
    """A wheel's own folder in SITE, with these lines of metadata."""
    info = site / f"{name}-1.0.dist-info"
    (info / "licenses").mkdir(parents=True)
    (info / "METADATA").write_text("\n".join(["Version: 1.0", *lines, ""]), encoding="utf-8")
    (info / "licenses/LICENSE").write_text("Copyright 2020 Somebody\n\nWords", encoding="utf-8")
    return info


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["License-Expression: Apache-2.0 OR BSD-3-Clause"], "Apache-2.0 or BSD-3-clause"),
        (["License: MIT"], "Expat"),
        (["License: Apache 2.0"], "Apache-2.0"),
        (["License: see file", "Classifier: License :: OSI Approved :: MIT License"], "Expat"),
    ],
)
def test_a_wheel_says_its_license(tmp_path: Path, lines: list[str], said: str) -> None:
    """By an expression, a name, or a classifier."""
    wheel(tmp_path, "some", *lines)
    wheel(tmp_path, "setuptools", "License: none")
    wheel(tmp_path, "chatmaild", "License: none")
    expected = dep5.Part("wheels/some-1.0/*", ("2020 Somebody",), said)
    assert list(wheels.parts(tmp_path)) == [expected]


def test_a_wheel_that_does_not_say_its_license_ends_the_build(tmp_path: Path) -> None:
    """What nobody may pass on is not packed."""
    wheel(tmp_path, "some", "License: see file")
    with pytest.raises(ValueError, match="the wheel some does not say its license"):
        list(wheels.parts(tmp_path))


def test_what_is_compiled_into_a_wheel_is_named(tmp_path: Path) -> None:
    """Its bill of materials names crates and libraries, but for what only helped to build it."""
    info = wheel(tmp_path, "some", "License: MIT")
    (info / "sboms").mkdir()
    (info / "sboms/a.json").write_text(
        '{"components": [{"name": "one", "version": "2", "author": "A",'
        ' "licenses": [{"expression": "MIT"}]},'
        ' {"name": "cc", "version": "1", "scope": "excluded"},'
        ' {"name": "openssl", "version": "4", "licenses": null}]}',
        encoding="utf-8",
    )
    assert [(part.files, part.license) for part in wheels.parts(tmp_path)] == [
        ("wheels/some-1.0/*", "Expat"),
        ("wheels/some-1.0/crates/one-2/*", "Expat"),
        ("wheels/some-1.0/openssl-4/*", "Apache-2.0"),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("Redistribution and use in\nsource\n * Neither the name of", "BSD-3-clause"),
        ("Permission is hereby granted, free of charge, to any person", "Expat"),
    ],
)
def test_go_modules_are_licensed_by_words(text: str, name: str) -> None:
    """A module has no metadata: its license is known by its words."""
    assert modules.kind(text) == name


def test_unknown_words_end_the_build() -> None:
    """A module under a license that nobody looked at is noticed."""
    with pytest.raises(ValueError, match="unknown license"):
        modules.kind("All rights reserved.")
