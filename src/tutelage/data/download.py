"""Fetches a file over https and hands it on only when its checksum is right."""

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

TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_safe(url: str, before: str = "") -> bool:
    """Whether a file may come from ``url``: https, or this machine itself unless another one redirected to it.

    >>> is_safe("https://example.org/a"), is_safe("http://example.org/a"), is_safe("file:///etc/passwd")
    (True, False, False)
    >>> is_safe("http://localhost:8000/a"), is_safe("http://localhost/a", before="https://example.org/a")
    (True, False)
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return local and (not before or urlsplit(before).hostname in _LOOPBACK)


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
        if not is_safe(newurl, before=req.full_url):
            fp.close()
            raise ValueError(f"{req.full_url} redirects to {printable(newurl)[:300]}, which is not https: refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def fetched(url: str, md5: str, folder: Path, limit: int) -> Iterator[IO[bytes]]:
    """Give the body of ``url`` as an open file without a name, at most ``limit`` bytes, with the checksum ``md5``.

    The file lies in ``folder`` and is gone with the body of the ``with`` statement, or with the process.

    Errors: ``ConnectionError`` when it cannot be had whole, ``ValueError`` when it is not what was expected.
    """
    if not is_safe(url):
        raise ValueError(f"{url} is not https: refused")
    folder.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_SafeRedirects)
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            with opener.open(url, timeout=TIMEOUT) as reply:
                announced = reply.headers.get("Content-Length", "")
                while block := reply.read(_BLOCK):
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
                error.close()  # it is the reply too
            reason = printable(" ".join(str(error).split()))[:300]  # it may be the server's own words
            raise ConnectionError(f"{url} cannot be downloaded: {reason or type(error).__name__}") from None
        if announced.isdigit() and size != int(announced):
            raise ConnectionError(f"{url} ended early: {size} of {announced} bytes")
        if digest.hexdigest() != md5:
            raise ValueError(f"{url} has the checksum {digest.hexdigest()}, expected {md5}: refused")
        file.seek(0)
        yield file
