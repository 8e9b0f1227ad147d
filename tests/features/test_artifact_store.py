"""Artifacts under one address."""

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from features import artifact_store


@pytest.fixture(autouse=True)
def _store(settings, tmp_path):
    settings.ARTIFACTS_URL = str(tmp_path / "artifacts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("one")
    (made / "deep" / "b.bin").write_bytes(b"\x00\xff")
    return made


def test_what_is_put_comes_back_whole(folder, tmp_path):
    assert artifact_store.put(folder, "saes/m/s") == "saes/m/s"
    back = artifact_store.get("saes/m/s", tmp_path / "back")
    assert (back / "a.txt").read_text() == "one"
    assert (back / "deep" / "b.bin").read_bytes() == b"\x00\xff"


def test_putting_again_replaces_and_leaves_nothing_of_the_old(folder, tmp_path):
    artifact_store.put(folder, "x")
    (folder / "a.txt").unlink()
    (folder / "c.txt").write_text("new")
    artifact_store.put(folder, "x")
    back = artifact_store.get("x", tmp_path / "back")
    assert sorted(p.name for p in back.rglob("*") if p.is_file()) == ["b.bin", "c.txt"]


def test_what_is_not_there_names_the_address(tmp_path):
    with pytest.raises(artifact_store.Missing, match="nothing at gone"):
        artifact_store.get("gone", tmp_path / "back")


def test_removing_twice_is_no_error(folder, tmp_path):
    artifact_store.put(folder, "x")
    artifact_store.remove("x")
    artifact_store.remove("x")
    with pytest.raises(artifact_store.Missing):
        artifact_store.get("x", tmp_path / "back")


def test_any_fsspec_address_serves(settings, folder, tmp_path):
    settings.ARTIFACTS_URL = "memory://store"
    artifact_store.put(folder, "y")
    assert (artifact_store.get("y", tmp_path / "back") / "a.txt").read_text() == "one"


def test_files_are_listed_with_their_sizes_and_read_in_pieces(folder):
    artifact_store.put(folder, "saes/m/s")
    assert artifact_store.files("saes/m/s") == [("a.txt", 3), ("deep/b.bin", 2)]
    assert b"".join(artifact_store.stream_file("saes/m/s", "deep/b.bin")) == b"\x00\xff"
    for name in ("no.txt", "../s/a.txt", "deep"):
        with pytest.raises(artifact_store.Missing):
            artifact_store.stream_file("saes/m/s", name)


def test_a_copy_that_breaks_off_leaves_nothing_behind(folder, monkeypatch, settings):
    artifact_store.put(folder, "x")

    def full(self, *paths, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "put_file", full)
    with pytest.raises(OSError, match="No space"):
        artifact_store.put(folder, "x")
    assert list(Path(settings.ARTIFACTS_URL, artifact_store.INCOMING).iterdir()) == []
    assert len(artifact_store.files("x")) == 2
