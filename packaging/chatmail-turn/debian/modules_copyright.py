#!/usr/bin/python3
"""Prints the copyright file of the program: ours, and of every Go module in it.

    modules_copyright.py BASE

BASE is debian/copyright of the source. Which modules are in the program, and where their files are,
says go; who wrote them and their licenses is taken from those files.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dep5 import Part, document, holders, license_files, read, words_of

SHAPE = "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}} {{.Dir}}{{end}}{{end}}"

KINDS = (
    ("Apache-2.0", r"Apache License,?\s+Version 2\.0"),
    ("BSD-3-clause", r"Redistribution and use.*Neither the name"),
    ("Expat", r"Permission is hereby granted, free of charge, to any person"),
)
"""Licenses, and what is in the words of each."""


def modules() -> list[tuple[str, Path]]:
    """The modules with packages in the program, and their folders."""
    command = ["go", "list", "-deps", "-f", SHAPE, "."]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pairs = {tuple(line.split(maxsplit=1)) for line in listed.splitlines() if line.strip()}
    return sorted((name, Path(folder)) for name, folder in pairs)


def kind(text: str) -> str:
    """The name of the license with these words; raises ValueError when it is none we know."""
    for name, pattern in KINDS:
        if re.search(pattern, text, re.DOTALL):
            return name
    raise ValueError(f"an unknown license: {text[:200]!r}")


def licensed(folder: Path) -> Path:
    """The file with a module's license."""
    return next(path for path in license_files(folder) if path.name.startswith("LICENSE"))


def parts() -> Iterator[Part]:
    """What is in the program beside ours."""
    yield Part("go/*", ("2009 The Go Authors",), "BSD-3-clause")
    for name, folder in modules():
        files = license_files(folder)
        authors = (f"the authors of {name}",)
        yield Part(f"modules/{name}/*", holders(files, authors), kind(read(licensed(folder))))


def words() -> dict[str, str]:
    """The words of the licenses, by their names."""
    texts = [licensed(folder) for _, folder in modules()]
    return {kind(read(path)): words_of(path) for path in texts}


if __name__ == "__main__":
    base = Path(sys.argv[1]).read_text(encoding="utf-8")
    sys.stdout.write(document(base, parts(), words()))
