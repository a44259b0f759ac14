"""The archive of a release, as a test serves it."""

import gzip
import io
import tarfile
from collections.abc import Mapping


def release_archive(files: Mapping[str, bytes]) -> bytes:
    """Return a tar.gz of the files; the same bytes at any time, since tests compare checksums."""
    content = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as packed,
    ):
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return content.getvalue()
