"""Tables of labels: any bytes are rows or one sentence, and what spreadsheets write is read."""

import json
from types import SimpleNamespace

import pytest

from features.interchange import labels as label_files
from features.interchange import tables
from features.records import InvalidInput
from tests.damaged_files import try_files

SCORES = json.dumps([{"kind": "detection", "value": 0.9, "n": 4}])
ROWS = [{"index": n, "text": f"zwölf 🧠 {n}", "scores": SCORES} for n in range(12)]
CSV = tables.write(ROWS, list(ROWS[0]), "csv")
VALID = {
    "csv": [CSV, CSV.replace(b",", b";"), CSV.decode().encode("utf-16")],
    "jsonl": [tables.write(ROWS, list(ROWS[0]), "jsonl"), b'{"index": 1, "text": "\\ud83d"}'],
    "parquet": [tables.write(ROWS, list(ROWS[0]), "parquet")],
}


class AnySae(SimpleNamespace):
    """As much of an SAE as the check of rows needs."""

    def __str__(self) -> str:
        return "tiny/2-res"


def check(data: bytes, kind: str) -> None:
    refused = None
    try:
        rows = tables.parse_table(data, kind)
        label_files.check(rows, AnySae(width=8), {0, 1, 2})
    except InvalidInput as error:
        refused = error
    assert not refused or set(refused.errors) == {"file"}


@pytest.mark.parametrize("kind", VALID)
def test_any_bytes_are_rows_or_one_sentence(kind):
    try_files(lambda data: check(data, kind), VALID[kind], 50)


@pytest.mark.full
@pytest.mark.parametrize("kind", VALID)
def test_ten_thousand_tables_are_rows_or_one_sentence(kind):
    try_files(lambda data: check(data, kind), VALID[kind], 10_000)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings_of_spreadsheets_are_read(separator, encoding):
    text = '"a, b; c\td|e"'
    lines = f"index{separator}text\r\n3{separator}{text}\r\n\r\n"
    rows = tables.parse_table(lines.encode(encoding), tables.format_of("labels.tsv"))
    assert rows == [{"index": "3", "text": "a, b; c\td|e"}]


def test_a_row_of_another_length_says_what_separates_cells():
    with pytest.raises(InvalidInput) as caught:
        tables.parse_table(b"index;text\n1;a;b\n", "csv")
    assert caught.value.message == (
        "Row 1 has 3 cells, the header 2; they are separated by semicolons."
    )


def test_a_byte_that_is_not_utf8_is_numbered_from_the_start_of_the_file():
    with pytest.raises(InvalidInput, match="byte 8 is not"):
        tables.parse_table(b"\xef\xbb\xbftext\n\xff", "csv")


def test_a_line_separator_in_a_text_ends_no_row_of_json():
    (row,) = tables.parse_table('{"text": "a\u2028b"}'.encode(), "jsonl")
    assert row == {"text": "a\u2028b"}
