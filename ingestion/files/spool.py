"""Uploaded bytes are written to anonymous temporary files."""

from __future__ import annotations

import html
import re
import shutil
import tempfile
from contextlib import ExitStack
from typing import IO, Any, BinaryIO, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser

from ingestion.payloads import TooLarge
from ingestion.text import strip_unstorable

READ_SIZE = 1_000_000
"""Bytes read at once."""


class FormWithPaths(MultiPartParser):
    """Keeps the folders in the names of files, which tell what kind of file each is; as labels, never as paths."""

    def sanitize_file_name(self, file_name: str) -> str | None:
        *folders, _ = re.split(r"[/\\]", html.unescape(file_name))
        name: str | None = super().sanitize_file_name(file_name)
        kept = ["".join(filter(str.isprintable, folder)) for folder in folders if folder not in ("", ".", "..")]
        return name and "/".join([*kept, name])


class SpoolHandler(FileUploadHandler):
    """Writes the files of a form to anonymous temporary files, together at most MAX_UPLOAD_BYTES."""

    is_reading = False

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803
        content_length: int,
        boundary: Any,
        encoding: Any = None,
    ) -> Any:
        """Has the form read by FormWithPaths, which asks this once more."""
        if content_length > settings.MAX_UPLOAD_BYTES:
            raise RequestDataTooBig(f"The body has {content_length} bytes; the limit is {settings.MAX_UPLOAD_BYTES}.")
        if self.is_reading:
            return None
        self.is_reading = True
        return FormWithPaths(META, input_data, [self], encoding).parse()

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 (Django closes it with the request)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes]:
        self.file.seek(0)
        file = UploadedFile(self.file, self.file_name, self.content_type, file_size, self.charset)
        file.path = self.file_name  # type: ignore[attr-defined]  # the name is without its folders
        return file

    def upload_interrupted(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


def path_of(file: UploadedFile[Any]) -> str:
    """The name of a file of a form, with its folders."""
    return strip_unstorable(getattr(file, "path", None) or file.name or "", 255)


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
