"""Files to upload, for tests."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ingestion.cells import cell_of


def csv_of(records: Sequence[Mapping[str, Any]], delimiter: str = ",") -> bytes:
    """With the columns of the first record."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(records[0])
    writer.writerows(
        [value if isinstance(value, str) else cell_of(value) for value in each.values()] for each in records
    )
    return file.getvalue().encode()


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def streamed(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def ndjson_of(records: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)
