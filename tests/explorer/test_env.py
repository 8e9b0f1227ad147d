"""Environment variables: typed, and refused aloud."""

import os
import stat

import pytest
from django.core.exceptions import ImproperlyConfigured

from explorer import env


@pytest.fixture(autouse=True)
def _own_variables(monkeypatch):
    monkeypatch.setattr(env, "VARIABLES", {})


def test_an_unset_and_an_empty_variable_take_the_default(monkeypatch):
    assert env.text("X", "d") == "d"
    monkeypatch.setenv("X", "  ")
    assert env.text("X", "d") == "d"


def test_what_was_read_is_listed_with_its_default(monkeypatch):
    env.number("X_PORT", 8000, "Port.", low=1, high=65535)
    assert env.VARIABLES == {"X_PORT": ("X_PORT", "8000", "Port.")}


@pytest.mark.parametrize(
    ("value", "meant"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)]
)
def test_flags_are_read_as_people_write_them(monkeypatch, value, meant):
    monkeypatch.setenv("X", value)
    assert env.flag("X", not meant, "") is meant


@pytest.mark.parametrize("value", ["maybe", "2", "tru"])
def test_a_flag_that_is_neither_is_refused(monkeypatch, value):
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match=rf"X must be 1 or 0, not “{value}”"):
        env.flag("X", True, "")


@pytest.mark.parametrize("value", ["80x", "-1", "0", "65536", "8e3", "８０"])
def test_a_number_out_of_range_or_none_at_all_is_refused(monkeypatch, value):
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match="X must be a whole number from 1 to 65535"):
        env.number("X", 8000, "", low=1, high=65535)


def test_lists_drop_blanks(monkeypatch):
    monkeypatch.setenv("X", " a.org, ,b.org,")
    assert env.names("X", [], "") == ["a.org", "b.org"]


def test_a_url_of_another_scheme_is_refused_without_repeating_its_password(monkeypatch):
    monkeypatch.setenv("X", "mysql://u:hunter2@h/db")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.database("X", "")
    assert "postgresql://" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_database_url_is_taken_apart(monkeypatch):
    monkeypatch.setenv("X", "postgresql://ada:p%40ss@db.example:5433/scope?sslmode=require")
    assert env.database("X", "") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "scope",
        "USER": "ada",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }


@pytest.mark.parametrize("value", ["postgresql://ada@db.example", "postgresql://h:port/db"])
def test_a_database_url_without_a_database_or_that_cannot_be_read_is_refused(monkeypatch, value):
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match=r"^X "):
        env.database("X", "")


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    kept = tmp_path / "new" / "secret"
    first = env.secret("X", kept, "")
    assert len(first) > 50
    assert env.secret("X", kept, "") == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.listdir(kept.parent) == ["secret"]


def test_a_given_secret_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("X", "s" * 40)
    assert env.secret("X", tmp_path / "secret", "") == "s" * 40
    assert not (tmp_path / "secret").exists()


def test_a_damaged_secret_file_is_refused(tmp_path):
    (tmp_path / "secret").write_text("short")
    with pytest.raises(ImproperlyConfigured, match="is damaged: delete it"):
        env.secret("X", tmp_path / "secret", "")


def test_a_folder_that_is_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "var").write_text("")
    with pytest.raises(ImproperlyConfigured, match=r"Cannot write to .*var.*FEATURESCOPE_VAR"):
        env.secret("X", tmp_path / "var" / "secret", "")
