"""Which columns are mapped to fields otherwise than by their names: as a client asks, or as a person once decided."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from django.db import transaction

from ingestion.files.record_file import RecordFile
from ingestion.models import ColumnMapping
from ingestion.refusals import RequestRejected
from ingestion.streams import Stream


def read_mapping(text: str, stream: Stream) -> dict[str, str]:
    """`Mail:e_mail,Born:birthday` → column → field. A column's name may have commas and colons."""
    fields = stream.schema.model_fields
    pair = re.compile(rf"(.+?):\s*({'|'.join(map(re.escape, fields))})\s*(?:,|$)")
    mapping, start = {}, 0
    while start < len(text):
        if not (found := pair.match(text, start)):  # one after the other, so that it takes linear time
            message = f"must be column:field, separated by commas, with fields of {stream.name}: {', '.join(fields)}"
            raise RequestRejected(400, f"map {message}.", fields={"map": [message]})
        mapping[" ".join(found[1].split())] = found[2]
        start = found.end()
    return mapping


def require_mapped(file: RecordFile, mapping: Mapping[str, str]) -> None:
    """Rejects (400) a mapping of which not every column of the file could be mapped."""
    for column, field in mapping.items():
        if file.mapped.get(column) == field:
            continue
        if column not in file.columns:
            message = f"The file has no column “{column}”. Its columns: {', '.join(file.columns)}."
        else:
            message = f"“{column}” cannot be mapped to {field}: it is mapped by its name, or another column is {field}."
        raise RequestRejected(400, message, fields={"map": [f"{column} is not mapped"]})


def remembered(client: str, stream: str) -> dict[str, str]:
    """column → field, as this client has decided for earlier files of the stream."""
    mappings = ColumnMapping.objects.filter(client=client, stream=stream).order_by("pk")
    return dict(mappings.values_list("column", "field"))


def remember(client: str, stream: str, columns: Collection[str], mapped: Mapping[str, str]) -> None:
    """The decision for these columns: those that are not mapped are forgotten."""
    of_stream = ColumnMapping.objects.filter(client=client, stream=stream)
    with transaction.atomic():
        of_stream.filter(column__in=set(columns).difference(mapped)).delete()
        for column, field in mapped.items():
            ColumnMapping.objects.update_or_create(
                client=client, stream=stream, column=column, defaults={"field": field}
            )
