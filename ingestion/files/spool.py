"""Uploaded bytes are written to anonymous temporary files."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from typing import IO, Any, BinaryIO, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from ingestion.payloads import TooLarge

READ_SIZE = 1_000_000
"""Bytes read at once."""


class SpoolHandler(FileUploadHandler):
    """Writes the files of a form to anonymous temporary files, together at most MAX_UPLOAD_BYTES."""

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:  # noqa: N803
        if content_length > settings.MAX_UPLOAD_BYTES:
            raise RequestDataTooBig(f"The body has {content_length} bytes; the limit is {settings.MAX_UPLOAD_BYTES}.")

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 (Django closes it with the request)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes]:
        self.file.seek(0)
        return UploadedFile(self.file, self.file_name, self.content_type, file_size, self.charset)

    def upload_interrupted(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


def spool(stream: IO[bytes], opened: ExitStack) -> BinaryIO:
    """The rest of the stream, as a file."""
    file = anonymous_tempfile(opened)
    shutil.copyfileobj(stream, file, READ_SIZE)
    file.seek(0)
    return file


class TemporaryFiles(ExitStack):
    """The temporary files of a request, which share one budget: MAX_UPLOAD_BYTES, unpacked."""

    def __init__(self) -> None:
        super().__init__()
        self.left = settings.MAX_UPLOAD_BYTES

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooLarge(f"The files unpack to more than {settings.MAX_UPLOAD_BYTES} bytes.")


def anonymous_tempfile(opened: ExitStack) -> BinaryIO:
    """A file in TMPDIR that vanishes with `opened`, or with the process, however that ends."""
    return cast("BinaryIO", opened.enter_context(tempfile.TemporaryFile()))
