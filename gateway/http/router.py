"""Which handler a request gets.

Rules:
1.  A path is compared segment by segment after strict decoding (target.py), so nothing but the
    path of a route is that route.
2.  No route: 404.  A route without the method: 405 with `Allow`.  A digest that is none: 400.
3.  The common cases take a short way to the same answer: a blob's path in its plain spelling, since
    a digest's wire form has nothing in it that could be encoded or decoded, and a target without a
    digest that was understood before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.http.request import NO_PARAMETERS, Route
from gateway.http.target import parse_target
from ring.digest import Digest
from ring.errors import InvalidDigest, MethodNotAllowed, NoSuchRoute

_BLOB_PREFIX: Final = "/v1/blobs/"
_DIGEST: Final = "{digest}"
_UNDERSTOOD_MAX: Final = 256

Methods = Mapping[str, Route]


class Router:
    """Paths in the form "/v1/blobs/{digest}"; a digest can only be the last segment."""

    def __init__(self, routes: Mapping[str, Methods]) -> None:
        self._fixed: dict[tuple[str, ...], Methods] = {}
        self._below: dict[tuple[str, ...], Methods] = {}
        for path, methods in routes.items():
            *above, last = path[1:].split("/")
            if last == _DIGEST:
                self._below[tuple(above)] = methods
            else:
                self._fixed[(*above, last)] = methods
        self._blob = routes[_BLOB_PREFIX + _DIGEST]
        self._understood: dict[tuple[str, str], tuple[Route, None, Mapping[str, str]]] = {}

    def find(
        self, method: str, target: str, host: str
    ) -> tuple[Route, Digest | None, Mapping[str, str]]:
        """The route, the digest in the path, the parameters of the query.

        Raises NoSuchRoute, MethodNotAllowed, InvalidDigest or BadRequest.
        """
        if target.startswith(_BLOB_PREFIX):
            route = self._blob.get(method)
            if route is not None:
                try:
                    return route, Digest.parse(target[len(_BLOB_PREFIX) :]), NO_PARAMETERS
                except InvalidDigest:
                    pass  # encoded, with a query, or wrong: the long way says which
        known = self._understood.get((method, target))
        return self._find(method, target, host) if known is None else known

    def _find(
        self, method: str, target: str, host: str
    ) -> tuple[Route, Digest | None, Mapping[str, str]]:
        parsed = parse_target(target, host)
        *above, last = parsed.segments
        methods = self._fixed.get(parsed.segments)
        text = None
        if methods is None:
            methods, text = self._below.get(tuple(above)), last
        if methods is None or text == "":
            raise NoSuchRoute(f"there is nothing at {'/'.join(parsed.segments)[:80]!r}")
        route = methods.get(method)
        if route is None:
            allow = ", ".join(sorted(methods))
            raise MethodNotAllowed(f"{method} is not among {allow}", allow=allow)
        parameters = parsed.parameter(route.parameters)
        if text is not None:
            return route, Digest.parse(text), parameters
        if target.startswith("/") and "after" not in parameters:  # the others would fill it
            if len(self._understood) >= _UNDERSTOOD_MAX:
                self._understood.clear()
            self._understood[method, target] = (route, None, parameters)
        return route, None, parameters
