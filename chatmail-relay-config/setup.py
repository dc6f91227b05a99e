"""The distribution of the `chatmail-relay` command and of the relay's settings."""

import re
import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


def version() -> str:
    """The version debian/changelog gives to all packages; in an sdist, the one it was made with."""
    changelog = HERE.parent / "debian" / "changelog"
    if changelog.exists():
        first, pattern = changelog.read_text(encoding="utf-8"), r"\S+ \(([0-9.]+)"
    else:
        first, pattern = (HERE / "PKG-INFO").read_text(encoding="utf-8"), r"(?s).*?\nVersion: (\S+)"
    found = re.match(pattern, first)
    if not found:
        raise SystemExit(f"no version in {changelog} or PKG-INFO")
    return found[1]


class BuildWithCatalogues(build_py):
    """Also makes gettext's catalogues of the web pages; who builds without `www` has no pages."""

    def run(self) -> None:
        super().run()
        for source in sorted((HERE / "chatmail_relay" / "www" / "po").glob("*.po")):
            folder = Path(self.build_lib, "chatmail_relay", "locale", source.stem, "LC_MESSAGES")
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["msgfmt", "--check", f"--output-file={folder / 'www.mo'}", source], check=True
            )


setup(
    name="chatmail-relay-config",
    version=version(),
    description="Settings and configurator of a chatmail relay",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["chatmail_relay", "chatmail_relay.*"]),
    package_data={
        "chatmail_relay": [
            *("py.typed", "templates/**/*"),
            *("www/pages/*", "www/site/**/*", "www/site/.well-known/**/*"),
        ],
    },
    data_files=[
        ("share/bash-completion/completions", ["completion/chatmail-relay"]),
        ("share/fish/vendor_completions.d", ["completion/chatmail-relay.fish"]),
        ("share/zsh/vendor-completions", ["completion/_chatmail-relay"]),
        ("share/doc/chatmail-relay-config/examples", ["examples/chatmail.ini"]),
    ],
    cmdclass={"build_py": BuildWithCatalogues},
    install_requires=["iniconfig"],
    extras_require={
        "apply": ["argcomplete", "dnspython", "jinja2", "requests", "rich", "segno"],
        "doctor": ["aioice", "dkimpy"],
    },
    entry_points={"console_scripts": ["chatmail-relay = chatmail_relay.cli:main"]},
)
