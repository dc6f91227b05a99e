"""What GitHub is asked to do is what anybody does by hand."""

import re

from devtools.sources import REPOSITORY

WORKFLOW = (REPOSITORY / ".github/workflows/test.yml").read_text(encoding="utf-8")


def test_the_workflow_runs_the_test_command() -> None:
    """It runs what CI runs, on a Debian that the checkout knows, and nothing beside it."""
    assert "debian:trixie .ci/run\n" in WORKFLOW
    assert "exec ./bootstrap test\n" in (REPOSITORY / ".ci/run").read_text(encoding="utf-8")


def test_foreign_actions_are_pinned() -> None:
    """A tag could be moved to something else; a commit cannot."""
    used = re.findall(r"uses: (\S+)", WORKFLOW)
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used)
