"""Documents in files that store columns: Parquet, and Arrow as a stream (as `datasets` saves it) or
as a file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.records import InvalidInput
from workers.pipeline.data.read_errors import read_failure

ROWS_AT_ONCE = 256
MAX_NAMED_COLUMNS = 20

Row = tuple[int, Any, str]


def load_parquet(file: Path, name: str, text_column: str) -> Iterator[Row]:
    """Yield (row number from 0, value, place) of the column. Raises `InvalidInput` without it."""
    try:
        table = pq.ParquetFile(file, page_checksum_verification=True)
        columns = table.schema_arrow.names
    except Exception as error:
        message = f"{name} is not a Parquet file: {read_failure(error)}."
        raise InvalidInput("source", message) from error
    _check_column(columns, name, text_column)
    batches = table.iter_batches(batch_size=ROWS_AT_ONCE, columns=[text_column])
    yield from _values(batches, name, text_column)


def load_arrow(file: Path, name: str, text_column: str) -> Iterator[Row]:
    """The same of an Arrow file."""
    with pa.memory_map(str(file)) as source:
        try:
            reader = _open_arrow(source)
            columns = reader.schema.names
        except Exception as error:
            message = f"{name} is not an Arrow file: {read_failure(error)}."
            raise InvalidInput("source", message) from error
        _check_column(columns, name, text_column)
        yield from _values(_selected(reader, text_column), name, text_column)


def _open_arrow(source: Any) -> Any:
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)


def _selected(reader: Any, text_column: str) -> Iterator[pa.RecordBatch]:
    """Batches of the column alone, checked: reading what damaged offsets point to would crash."""
    count = getattr(reader, "num_record_batches", None)
    batches = iter(reader) if count is None else map(reader.get_batch, range(count))
    for batch in batches:
        selected = batch.select([text_column])
        selected.validate(full=True)
        yield selected


def _check_column(columns: list[str], name: str, text_column: str) -> None:
    if columns.count(text_column) == 1:
        return
    problem = "has two columns" if text_column in columns else "has no column"
    listed = ", ".join(columns[:MAX_NAMED_COLUMNS]) or "no columns"
    raise InvalidInput("text_column", f"{name} {problem} {text_column!r}; it has {listed}.")


def _values(batches: Iterator[pa.RecordBatch], name: str, text_column: str) -> Iterator[Row]:
    number = 0
    try:
        for batch in batches:
            for value in _python_values(batch.column(0)):
                yield number, value, f"Column {text_column!r} of {name}, row {number:,},"
                number += 1
    except InvalidInput:
        raise
    except Exception as error:  # of a damaged page, or bytes that are no text
        message = f"{name} cannot be read after {number:,} rows: {read_failure(error)}."
        raise InvalidInput("source", message) from error


def _python_values(column: pa.Array) -> Iterator[Any]:
    """The values of a column, where one cannot be converted those before it."""
    try:
        yield from column.to_pylist()
    except UnicodeDecodeError:
        for scalar in column:
            yield scalar.as_py()
