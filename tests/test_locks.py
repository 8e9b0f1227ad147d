"""The lock files install from any index, and the web process installs a part of the whole."""

import re

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-web.lock"])
def test_the_locks_pin_versions_that_any_index_has(lock):
    lines = [
        line
        for line in (ROOT / lock).read_text().splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9_.-]+==[^+ ]+", line) for line in lines)
    assert ("torch==2.13.0" in lines) == (lock == "requirements.lock")


def test_the_web_lock_is_part_of_the_whole_lock():
    pins = [
        set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(), re.M))
        for lock in ("requirements-web.lock", "requirements.lock")
    ]
    assert pins[0] < pins[1]
