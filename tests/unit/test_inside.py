"""The command line that runs a program in a root of its own."""

from pathlib import Path

from devtools.inside import inside

TREE = Path("/roots/trixie")


def test_there_is_no_network() -> None:
    """A network namespace of its own has nothing but a loopback that is down."""
    assert inside(TREE, ["true"])[:2] == ["unshare", "--net"]
    assert "--net" not in inside(TREE, ["true"], network=True)


def test_words_stay_words() -> None:
    """What has spaces or quotes reaches the program as it is."""
    words = inside(TREE, ["printf", "%s", "it's one $word"], cwd="/build")
    assert words[-1] == """cd /build && exec printf %s 'it'"'"'s one $word'"""


def test_nothing_of_our_environment_is_seen() -> None:
    """The environment is empty but for what is given and the least a program needs."""
    words = inside(TREE, ["true"], env={"GNUPGHOME": "/key"})
    given = words[words.index("-i") + 1 : words.index("/bin/sh")]
    assert sorted(word.split("=")[0] for word in given) == ["GNUPGHOME", "HOME", "LC_ALL", "PATH"]


def test_a_build_has_no_privileges() -> None:
    """Unprivileged commands run as a user who is nobody on this machine."""
    assert "--userspec=1000:1000" in inside(TREE, ["true"], unprivileged=True)
    assert "--userspec=0:0" in inside(TREE, ["true"])


def test_binds_come_in_pairs_before_the_command() -> None:
    """Each path of this machine is followed by its place inside."""
    words = inside(TREE, ["true"], binds={Path("/here"): "/there"})
    first = words.index(str(TREE))
    assert words[first : first + 4] == [str(TREE), "/here", "/there", "--"]
