"""Whatever a file holds, a reader gives documents that any encoding can hold, or one sentence that
names the file.
"""

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.records import InvalidInput
from tests.damaged_files import try_files
from workers.pipeline.data.corpora import describe_corpus, load_documents
from workers.pipeline.data.corpus_files import load_file

ROWS = [
    {"text": text, "id": number} for number, text in enumerate(["one", "zwölf 🧠", "", "a\0b"] * 9)
]
LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS).encode()
DELIMITED = "text,id\n" + "".join(f'"{row["text"]}",{row["id"]}\n' for row in ROWS)


TABLE = pa.Table.from_pylist(ROWS)


def parquet(table: pa.Table = TABLE, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=10, **options)
    return out.getvalue()


def arrow(new=pa.ipc.new_stream, table: pa.Table = TABLE) -> bytes:
    out = io.BytesIO()
    with new(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    return out.getvalue()


def zstandard(data: bytes) -> bytes:
    """The frame that the zstd program writes."""
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


VALID = {
    "txt": [b"A line.\n\n" * 30, "Zürich 🧠\r\n".encode("utf-16"), "é\n".encode("utf-32")],
    "jsonl": [LINES, b"\xef\xbb\xbf" + LINES, b'{"text": "\\ud83d"}\n{"text": null}\n'],
    "csv": [DELIMITED.encode(), DELIMITED.replace(",", ";").encode()],
    "tsv": [DELIMITED.replace(",", "\t").encode()],
    "jsonl.gz": [gzip.compress(LINES, mtime=0)],
    "txt.bz2": [bz2.compress(LINES)],
    "jsonl.xz": [lzma.compress(LINES)],
    "csv.zst": [zstandard(DELIMITED.encode())],
    "parquet": [
        parquet(),
        parquet(compression="zstd", use_dictionary=False),
        parquet(version="1.0"),
    ],
    "arrow": [arrow(), arrow(pa.ipc.new_file)],
}
"""Files that can be read, by suffix."""


def check(file: Path) -> None:
    """Read a file to its end, or to one error of ours."""
    refused = None
    try:
        for name, content in load_file(file, file.name, "text"):
            name.encode()
            json.dumps(content, ensure_ascii=False).encode()
    except InvalidInput as error:
        refused = error
    if refused:
        refused.message.encode()
        assert refused.field in ("source", "text_column")
        assert file.name in refused.message
        assert refused.message.endswith(".")
        assert str(file.parent) not in refused.message


def try_kind(kind: str, folder: Path, examples: int) -> None:
    file = folder / f"c.{kind}"

    def check_bytes(data: bytes) -> None:
        file.write_bytes(data)
        check(file)

    try_files(check_bytes, VALID[kind], examples)


@pytest.mark.parametrize("kind", VALID)
def test_any_bytes_give_documents_or_one_sentence(kind, tmp_path):
    try_kind(kind, tmp_path, 50)


@pytest.mark.full
@pytest.mark.parametrize("kind", VALID)
def test_ten_thousand_files_give_documents_or_one_sentence(kind, tmp_path):
    try_kind(kind, tmp_path, 10_000)


def documents(file: Path, **options) -> list:
    parts = []
    for held_out in (False, True):
        try:
            parts += load_documents(str(file), held_out=held_out, **options)
        except InvalidInput as error:
            if "is empty" not in error.message:
                raise
    return sorted(parts)


def refusal(file: Path, **options) -> str:
    with pytest.raises(InvalidInput) as caught:
        documents(file, **options)
    return caught.value.message


def write(folder: Path, name: str, data: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("kind", VALID)
def test_every_format_gives_its_texts(kind, tmp_path):
    for data in VALID[kind]:
        assert documents(write(tmp_path, f"c.{kind}", data))


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    lines = b'{"text": "a\\ud83db"}\n{"text": "\\ud83e\\udde0"}\n'
    texts = [text for _, text in documents(write(tmp_path, "c.jsonl", lines))]
    assert texts == ["a\ufffdb", "🧠"]
    turns = b'{"messages": [{"role": "\\udc00", "content": "x\\udc00"}]}\n'
    ((_, turn),) = documents(write(tmp_path, "m.jsonl", turns), text_column="messages")
    assert turn == [{"role": "\ufffd", "content": "x\ufffd"}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.csv"])
def test_a_byte_order_mark_names_the_encoding_and_is_no_text(name, encoding, tmp_path):
    written = {
        "c.txt": "Zürich 🧠",
        "c.jsonl": '{"text": "Zürich 🧠"}\n',
        "c.csv": "text\nZürich 🧠\n",
    }
    ((_, text),) = documents(write(tmp_path, name, written[name].encode(encoding)))
    assert text == "Zürich 🧠"


def test_a_byte_order_mark_between_joined_files_is_no_error(tmp_path):
    half = '\ufeff{"text": "a"}\n'.encode()
    assert len(documents(write(tmp_path, "c.jsonl", half + half))) == 2


def test_utf16_without_a_mark_is_named_as_such(tmp_path):
    message = refusal(write(tmp_path, "c.txt", "Plain words. ".encode("utf-16-le") * 200))
    assert "c.txt is not UTF-8 text" in message
    assert "UTF-16 without" in message


@pytest.mark.parametrize("name", ["c.txt", "c.txt.gz"])
def test_a_byte_that_is_not_utf8_is_named_by_its_number_and_line(name, tmp_path):
    data = b"twenty-one characters\n" * 1000 + b"caf\xe9 after\n"
    packed = gzip.compress(data) if name.endswith("gz") else data
    message = refusal(write(tmp_path, name, packed))
    assert "byte 22,003, in line 1,001, is 0xE9" in message


def test_null_is_an_empty_text_and_a_missing_field_an_error(tmp_path):
    lines = b'{"text": null}\n{"text": "a"}\n'
    assert [text for _, text in documents(write(tmp_path, "c.jsonl", lines))] == ["a"]
    message = refusal(write(tmp_path, "d.jsonl", b'{"text": "a"}\n{"body": "b"}\n'))
    assert message == "d.jsonl, line 2 has no text in 'text'; it has body."


def test_flipped_bits_and_a_cut_are_sentences_about_the_file(tmp_path):
    lines = "".join(f'{{"text": "{number * 7919 % 104729} rivers"}}\n' for number in range(30_000))
    packed = bytearray(gzip.compress(lines.encode()))
    whole = bytes(packed)
    for at in range(70_000, 70_040):
        packed[at] ^= 0xFF
    flipped = refusal(write(tmp_path, "flipped.jsonl.gz", bytes(packed)))
    assert "flipped.jsonl.gz" in flipped
    cut = refusal(write(tmp_path, "cut.jsonl.gz", whole[: len(whole) // 2]))
    assert "after cut.jsonl.gz:" in cut
    assert "the file is cut off" in cut


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"write_page_checksum": True}])
def test_a_damaged_page_names_the_row(options, tmp_path):
    table = pa.table({"text": [f"{number * 7919 % 104729} rivers" for number in range(3000)]})
    data = bytearray(parquet(table, use_dictionary=False, **options))
    at = len(data) // 2
    data[at : at + 30] = bytes(30)
    assert "c.parquet cannot be read after 2,304 rows: " in refusal(
        write(tmp_path, "c.parquet", bytes(data))
    )


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([{"a": 1}]), "holds an object"),
        (pa.array([1.5]), "holds float"),
        (pa.array([b"\xff"]), "holds bytes"),
        (pa.array([[1]]), "turn 1"),
    ],
)
def test_a_column_of_another_type_is_named_with_its_row(column, says, tmp_path):
    file = write(tmp_path, "c.parquet", parquet(pa.table({"text": column})))
    message = refusal(file)
    assert message.startswith("Column 'text' of c.parquet, row 0, ")
    assert says in message


def test_bytes_in_a_column_of_text_that_are_no_text_are_named_with_their_row(tmp_path):
    damaged = pa.StringArray.from_buffers(
        2, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")
    )
    file = write(tmp_path, "c.parquet", parquet(pa.table({"text": damaged})))
    assert "c.parquet cannot be read after 1 rows: " in refusal(file)


def test_two_columns_of_one_name_are_refused(tmp_path):
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    for name, data in (("c.parquet", parquet(twice)), ("c.csv", b"text,text\na,b\n")):
        assert "has two columns 'text'" in refusal(write(tmp_path, name, data))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_of_a_csv_follows_from_its_header(separator, tmp_path):
    rows = ["id,text", '1,"a, b; c|d\t""e"""', "2,f"]
    data = "\n".join(row.replace(",", separator, 1) for row in rows)
    texts = {text for _, text in documents(write(tmp_path, "c.csv", data.encode()))}
    assert texts == {'a, b; c|d\t"e"', "f"}


def test_a_csv_row_of_another_length_is_named(tmp_path):
    message = refusal(write(tmp_path, "c.csv", b"id,text\n1,a\n2,b,c\n"))
    assert message == "c.csv, row 2 (line 3) has 3 cells; the header has 2."


def test_hidden_files_and_folders_are_no_part_of_a_corpus(tmp_path):
    for name in ("._a.jsonl", ".cache/b.txt", "__MACOSX/._c.txt", "__MACOSX/d.txt", ".DS_Store"):
        write(tmp_path, name, b"\0\x05\x16\x07 not text \xff")
    (tmp_path / "folder.jsonl").mkdir()
    write(tmp_path, "folder.jsonl/DATA.TXT", b"text")
    assert documents(tmp_path) == [("folder.jsonl/DATA.TXT:0", "text")]


def test_files_with_different_columns_are_told_apart(tmp_path):
    write(tmp_path, "a.jsonl", b'{"text": "a"}\n')
    write(tmp_path, "b.parquet", parquet(pa.table({"body": ["b"]})))
    assert refusal(tmp_path) == "b.parquet has no column 'text'; it has body."


def test_a_name_that_is_no_utf8_is_a_document_s_name_all_the_same(tmp_path):
    write(tmp_path, "caf\udce9.txt", b"text")
    assert documents(tmp_path) == [("caf\ufffd.txt:0", "text")]
    assert describe_corpus(str(tmp_path)).note.startswith("1 file")


@pytest.mark.parametrize("source", ["x" * 300 + ".txt", "~nobody-of-this-name/a", "a\0b.txt", "./"])
def test_a_source_that_is_no_file_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(source)


def test_a_json_file_says_what_to_write_instead(tmp_path):
    assert "one JSON object a line" in refusal(write(tmp_path, "c.json", b"[]"))


@pytest.mark.parametrize("line", [b"[" * 100_000, b"9" * 10_000, b'{"text": "a\x01"}', b"\xff\xfe"])
def test_json_that_python_cannot_read_is_a_sentence(line, tmp_path):
    assert "c.jsonl" in refusal(write(tmp_path, "c.jsonl", b'{"text": "a"}\n' + line))
