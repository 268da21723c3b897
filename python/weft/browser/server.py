"""A server for one page on this machine: it answers 127.0.0.1 alone, with files from memory, and takes weights back.

No path of a request ever reaches the disk. A page of another origin can neither read (Host is checked, so a name that
was made to point here does not pass) nor write (a token that only this page has).
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from weft.browser.site import Site

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
MAX_BODY = 64 << 20

Keep = Callable[[bytes], str]  # the JSON of weights -> where they were put; ValueError if they do not fit


class Server(ThreadingHTTPServer):
    """Serves a `Site` on loopback; port 0 takes a free one.

    >>> server = Server(site, keep, port=0)                                                 # doctest: +SKIP
    >>> print(server.url); server.serve_forever()                                           # doctest: +SKIP
    """

    daemon_threads = True

    def __init__(self, site: Site, keep: Keep, port: int = 0):
        self.files, self.keep, self.token = dict(site.files), keep, secrets.token_urlsafe(16)
        self.writing = threading.Lock()
        kind, page = self.files["/"]
        self.files["/"] = kind, page.replace(b"{token}", self.token.encode())
        super().__init__((HOST, port), Handler)
        said = "" if self.server_port == 80 else f":{self.server_port}"  # a browser leaves out the usual one
        self.hosts = {name + said for name in (HOST, "localhost")}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed while it loaded is no fault; the rest is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "weft", ""
    timeout = 30  # seconds without a byte

    def do_GET(self) -> None:
        self.answer_file(body=True)

    def do_HEAD(self) -> None:
        self.answer_file(body=False)

    def answer_file(self, body: bool) -> None:
        found = self.server.files.get(self.path)
        if self.headers.get("Host") not in self.server.hosts:
            self.answer(HTTPStatus.FORBIDDEN, {"error": f"expected this machine's address, {self.server.url}"},
                        body=body)  # fmt: skip
        elif found is None:
            self.answer(HTTPStatus.NOT_FOUND, {"error": "no such file"}, body=body)
        else:
            self.send(HTTPStatus.OK, *found, body=body)

    def do_POST(self) -> None:
        """Take weights: only JSON, of this page (its origin and its token), and no larger than any model here."""
        token, origin = self.headers.get("X-Weft-Token", ""), self.headers.get("Origin")
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Host") not in self.server.hosts or origin not in {
            f"http://{h}" for h in self.server.hosts
        }:
            self.answer(HTTPStatus.FORBIDDEN, {"error": "expected a request of the page itself"})
        elif not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self.answer(HTTPStatus.FORBIDDEN, {"error": "expected the page's token; load it anew"})
        elif self.path != "/weights":
            self.answer(HTTPStatus.NOT_FOUND, {"error": "expected /weights"})
        elif self.headers.get("Content-Type") != "application/json":
            self.answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "expected application/json"})
        elif not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MAX_BODY):
            self.answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"expected at most {MAX_BODY} bytes"})
        else:
            body = self.rfile.read(int(length))
            try:
                with self.server.writing:
                    kept = self.server.keep(body)
            except ValueError as error:
                self.answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            except OSError as error:
                self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
            else:
                self.answer(HTTPStatus.OK, {"kept": kept})

    def answer(self, status: HTTPStatus, value: Any, body: bool = True) -> None:
        if status != HTTPStatus.OK:
            self.close_connection = True  # what was not read must not become the next request
        self.send(status, "application/json", json.dumps(value).encode(), body)

    def send(self, status: HTTPStatus, kind: str, content: bytes, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Security-Policy": POLICY, "Content-Type": kind,
                            "Content-Length": str(len(content))}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """A page asks often; the terminal shows the address alone."""
