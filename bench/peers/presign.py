"""S3 requests that carry their signature in the query, so that any HTTP client can send them.

The algorithm is AWS Signature Version 4 with query parameters, as the Amazon S3 API reference
describes it in "Authenticating Requests: Using Query Parameters"; the body is not signed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

EXPIRES_S: Final = 86_400
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]*")


class Signer:
    """Signs for one server and one key; what it signs is valid for a day from `now` on.

    host: as the client will send it, with the port where one is in the URL. now: UTC.
    """

    def __init__(
        self, host: str, access_key: str, secret_key: str, region: str, now: dt.datetime
    ) -> None:
        date = now.strftime("%Y%m%d")
        self._host = host
        self._time = now.strftime("%Y%m%dT%H%M%SZ")
        self._scope = f"{date}/{region}/s3/aws4_request"
        self._credential = f"{access_key}/{self._scope}"
        key = b"AWS4" + secret_key.encode()
        for part in (date, region, "s3", "aws4_request"):
            key = _mac(key, part)
        self._key = key

    def target(self, method: str, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """Path and query to send; `path` needs no escapes."""
        assert _PLAIN_PATH.fullmatch(path), path
        parameters = [
            *query,
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", self._credential),
            ("X-Amz-Date", self._time),
            ("X-Amz-Expires", str(EXPIRES_S)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        escaped = sorted((_escape(name), _escape(value)) for name, value in parameters)
        joined = "&".join(f"{name}={value}" for name, value in escaped)
        request = f"{method}\n{path}\n{joined}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{self._time}\n{self._scope}\n{digest}"
        return f"{path}?{joined}&X-Amz-Signature={_mac(self._key, text).hex()}"


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _escape(text: str) -> str:
    return quote(text, safe="-._~")
