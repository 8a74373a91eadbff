"""A web server on this machine that behaves well or badly, as the first part of the path asks.

`http://127.0.0.1:<port>/good/x.gz` delivers the file x.gz of the served folder, `/503/x.gz` answers
503, `/silent/x.gz` sends nothing, and so on: `Handler` has a method for each way to behave.
"""

import contextlib
import http.server
import threading
import urllib.parse
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self):
        self.send_error(403, "The proxy does not allow this")

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path  # a proxy is asked for a whole address
        _, behaviour, name = path.split("/")
        self.server.requests.append((behaviour, name))
        body = (self.server.folder / name).read_bytes()
        with contextlib.suppress(ConnectionError):  # clients that give up are part of the tests
            if behaviour.isdigit():
                self.send_error(int(behaviour))
            else:
                getattr(self, behaviour)(name, body)

    def head(self, status=200, **headers):
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()

    def good(self, name, body):
        self.head(Content_Length=len(body))
        self.wfile.write(body)

    def drip(self, name, body, pause=0.02):
        """Send the file in ten pieces, in the course of 0.2 seconds."""
        self.head(Content_Length=len(body))
        for piece in range(10):
            self.wfile.write(body[len(body) * piece // 10 : len(body) * (piece + 1) // 10])
            self.server.closing.wait(pause)

    def slow(self, name, body):
        """Send the file in the course of two seconds."""
        self.drip(name, body, pause=0.2)

    def redirect(self, name, body):
        self.head(302, Location=f"/good/{name}")

    def html(self, name, body):
        self.good(name, b"<!DOCTYPE html><title>Log in to the guest network</title>")

    def wrong(self, name, body):
        self.good(name, body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])

    def cut(self, name, body):
        self.head(Content_Length=len(body))
        self.wfile.write(body[: len(body) // 2])

    def halfway(self, name, body):
        """Send half the file, and then nothing."""
        self.cut(name, body)
        self.server.sent_half.set()
        self.server.closing.wait(timeout=60)

    def silent(self, name, body):
        self.server.closing.wait(timeout=60)

    def close(self, name, body):
        self.close_connection = True

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder, tls=None):
    """Serve the files in `folder`; yield the server, with `.address` and the list `.requests`.

    tls: an ssl.SSLContext, for https.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.folder = Path(folder)
    server.address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    server.requests = []
    server.sent_half, server.closing = threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
