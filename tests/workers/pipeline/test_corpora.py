"""Every kind of corpus gives the same documents in the same order, its two parts share none, and
bad files are named.
"""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.records import InvalidInput
from workers.pipeline.data import stdlib
from workers.pipeline.data.corpora import SHUFFLE_BUFFER, describe_corpus, load_documents

TEXTS = [f"document {number} says {'x' * (number % 7)}" for number in range(200)]


@pytest.fixture(params=["jsonl", "jsonl.gz", "parquet", "folder"])
def corpus(request, tmp_path) -> Path:
    """The same 200 texts, in each kind of file."""
    rows = [{"text": text, "id": number} for number, text in enumerate(TEXTS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
        return tmp_path / "c.parquet"
    if request.param == "folder":
        (tmp_path / "deep").mkdir()
        pq.write_table(pa.Table.from_pylist(rows[:50]), tmp_path / "deep" / "a.parquet")
        (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[50:]))
        (tmp_path / "readme.md").write_text("not part of the corpus")
        return tmp_path
    path = tmp_path / f"c.{request.param}"
    path.write_bytes(
        gzip.compress(lines.encode()) if request.param.endswith("gz") else lines.encode()
    )
    return path


def texts(source, **options) -> list[str]:
    return [text for _, text in load_documents(str(source), **options)]


def refusal(source, **options) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        list(load_documents(str(source), **options))
    return caught.value


def test_the_two_parts_together_are_the_corpus_and_share_nothing(corpus):
    training, held_out = texts(corpus), texts(corpus, held_out=True)
    assert sorted(training + held_out) == sorted(TEXTS)
    assert 0 < len(held_out) < 30


def test_the_order_is_shuffled_and_the_same_every_time(corpus):
    first = texts(corpus)
    assert first == texts(corpus)
    assert first != texts(corpus, seed=1)
    assert first != [text for text in TEXTS if text in set(first)]


def test_names_are_different(corpus):
    names = [name for name, _ in load_documents(str(corpus))]
    assert len(set(names)) == len(names)


def test_a_corpus_larger_than_the_shuffle_buffer_loses_and_repeats_nothing(tmp_path):
    count = SHUFFLE_BUFFER + 500
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"text": f"t {n}"}) + "\n" for n in range(count))
    )
    everything = texts(tmp_path / "c.jsonl") + texts(tmp_path / "c.jsonl", held_out=True)
    assert sorted(everything) == sorted(f"t {n}" for n in range(count))


def test_a_text_file_is_cut_between_paragraphs(tmp_path):
    chapters = [f"A line of text {number}.\n" * 100 + "\n" for number in range(120)]
    (tmp_path / "book.txt").write_text("".join(chapters))
    pieces = texts(tmp_path / "book.txt") + texts(tmp_path / "book.txt", held_out=True)
    assert all(piece.startswith("A line") and piece.endswith(".") for piece in pieces)
    assert sum(piece.count("A line") for piece in pieces) == 12000


def test_another_column_can_be_read(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"body": "one"}\n{"body": "two"}\n')
    assert set(texts(tmp_path / "c.jsonl", text_column="body")) <= {"one", "two"}


def test_the_standard_library_holds_out_whole_modules():
    names = [name for name, _ in load_documents("python-stdlib", held_out=True)]
    assert "argparse.py" in names
    assert "json/decoder.py" in names
    assert all(stdlib.is_held_out(Path(name)) for name in names)
    assert names == [name for name, _ in load_documents("python-stdlib", held_out=True)]


@pytest.mark.parametrize("source", ["/no/such/folder", "missing.jsonl", "./nowhere"])
def test_a_path_that_does_not_exist_is_refused(source):
    assert refusal(source).field == "source"


def test_a_folder_without_readable_files_says_what_is_read(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    error = refusal(tmp_path)
    assert error.field == "source"
    assert ".jsonl" in error.message


def test_a_missing_column_is_answered_with_those_that_are_there(corpus):
    error = refusal(corpus, text_column="content")
    assert error.field == "text_column"
    assert "text" in error.message
    assert "id" in error.message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.jsonl", b'{"text": "fine"}\n{"text": \n', "line 2"),
        ("c.jsonl", b"[1, 2]\n", "list"),
        ("c.txt", b"caf\xe9 \xff\n", "UTF-8"),
        ("c.jsonl.gz", b"not gzip", "c.jsonl.gz"),
        ("c.parquet", b"PAR0 nonsense", "Parquet"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        list(load_documents(str(tmp_path / name)))
    assert caught.value.field in ("source", "text_column")
    assert says in caught.value.message


def test_a_column_of_numbers_is_refused(tmp_path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "c.parquet")
    assert refusal(tmp_path / "c.parquet").field == "text_column"


def test_a_corpus_too_small_to_hold_anything_out_says_so(tmp_path):
    (tmp_path / "c.txt").write_text("just one document")
    parts = [held_out for held_out in (True, False) if not _has(tmp_path / "c.txt", held_out)]
    assert len(parts) == 1
    assert (
        " is empty; give a corpus of more documents"
        in refusal(tmp_path / "c.txt", held_out=parts[0]).message
    )


def _has(path: Path, held_out: bool) -> bool:
    try:
        return bool(texts(path, held_out=held_out))
    except InvalidInput:
        return False


def test_a_hub_dataset_without_a_connection_says_that_a_folder_works():
    error = refusal("nobody/no-such-dataset")
    assert error.field == "source"
    assert "works offline" in error.message


def test_the_revision_follows_the_content(corpus):
    before, note, chat = describe_corpus(str(corpus))
    assert describe_corpus(str(corpus)).revision == before
    assert "MB" in note
    assert not chat
    extra = corpus / "more.txt" if corpus.is_dir() else corpus
    extra.write_bytes((extra.read_bytes() if extra.exists() else b"") + b"\n")
    if extra.suffix in (".jsonl", ".txt"):
        assert describe_corpus(str(corpus)).revision != before


def test_the_standard_library_is_described_by_its_version():
    revision, note, chat = describe_corpus("python-stdlib")
    assert not chat
    assert revision.startswith("python-3.")
    assert "files" in note


def test_describing_a_bad_corpus_refuses_it(tmp_path):
    (tmp_path / "c.jsonl").write_text("{}\n")
    with pytest.raises(InvalidInput, match="no text in 'text'"):
        describe_corpus(str(tmp_path / "c.jsonl"))
