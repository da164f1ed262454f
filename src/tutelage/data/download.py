"""Download a file over https, and use it only if its checksum is right."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tutelage.errors import printable

TIMEOUT = 30.0  # seconds without receiving a byte
_BLOCK = 1 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_safe(url: str, redirected_from: str = "") -> bool:
    """Whether to download from ``url``: https only, or this machine itself unless another host redirects to it.

    >>> is_safe("https://example.org/a"), is_safe("http://example.org/a"), is_safe("file:///etc/passwd")
    (True, False, False)
    >>> is_safe("http://localhost:8000/a"), is_safe("http://localhost/a", redirected_from="https://example.org/a")
    (True, False)
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return local and (not redirected_from or urlsplit(redirected_from).hostname in _LOOPBACK)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not is_safe(newurl, redirected_from=req.full_url):
            fp.close()
            raise ValueError(f"{req.full_url} redirects to {printable(newurl)[:300]}, which is not https: refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def fetch(url: str, md5: str, folder: Path, limit: int) -> Iterator[IO[bytes]]:
    """Download ``url``, at most ``limit`` bytes with the checksum ``md5``, and yield it as an open temporary file.

    The file has no name; it takes space in ``folder`` until the ``with`` block or the process ends.

    Errors: ``ConnectionError`` when the download fails or is incomplete, ``ValueError`` when the file is not what was
    expected.
    """
    if not is_safe(url):
        raise ValueError(f"{url} is not https: refused")
    folder.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_SafeRedirects)
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            with opener.open(url, timeout=TIMEOUT) as response:
                content_length = response.headers.get("Content-Length", "")
                while block := response.read(_BLOCK):
                    size += len(block)
                    if size > limit:
                        raise ValueError(f"{url} sends more than the {limit} bytes allowed: refused")
                    digest.update(block)
                    file.write(block)
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            TimeoutError,
            ConnectionError,
            ssl.SSLError,
        ) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # an HTTPError is also the open response
            reason = printable(" ".join(str(error).split()))[:300]  # may be text sent by the server
            raise ConnectionError(f"{url} cannot be downloaded: {reason or type(error).__name__}") from None
        if content_length.isdigit() and size != int(content_length):
            raise ConnectionError(f"{url} ended early: {size} of {content_length} bytes")
        if digest.hexdigest() != md5:
            raise ValueError(f"{url} has the checksum {digest.hexdigest()}, expected {md5}: refused")
        file.seek(0)
        yield file
