"""A web server on this machine that behaves well or badly, as the first part of the path asks.

`http://127.0.0.1:<port>/good/x.gz` delivers the file x.gz of the served folder, `/503/x.gz` answers
503, `/stall/x.gz` sends nothing, and so on: `Handler` has one method for each kind of behaviour.
"""

import contextlib
import http.server
import threading
import time
import urllib.parse
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self):
        """Be a proxy that has a page of its own for every address."""
        self.html(None, None)

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

    def answer(self, body, length=None):
        self.send_response(200)
        self.send_header("Content-Length", len(body) if length is None else length)
        self.end_headers()
        self.wfile.write(body)

    def good(self, name, body):
        self.answer(body)

    def drip(self, name, body):
        """The file in ten pieces, in the course of 0.2 seconds."""
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        for piece in range(10):
            self.wfile.write(body[len(body) * piece // 10 : len(body) * (piece + 1) // 10])
            time.sleep(0.02)

    def together(self, name, body):
        """Deliver the first file only when two clients have asked for it."""
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        if name.startswith("train-images"):
            self.server.two_clients.wait(timeout=14)  # a client waits for 15 seconds
        self.wfile.write(body)

    def redirect(self, name, body):
        self.send_response(302)
        self.send_header("Location", f"/good/{name}")
        self.end_headers()

    def redirect_to_silence(self, name, body):
        self.send_response(302)
        self.send_header("Location", f"/stall/{name}")
        self.end_headers()

    def circle(self, name, body):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def html(self, name, body):
        self.answer(b"<!DOCTYPE html><title>Log in to the guest network</title>")

    def wrong(self, name, body):
        self.answer(body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])

    def cut(self, name, body):
        self.answer(body[: len(body) // 2], length=len(body))

    def short(self, name, body):
        """Half the file, and a header that agrees."""
        self.answer(body[: len(body) // 2])

    def long(self, name, body):
        """The file and more, and a header that agrees."""
        self.answer(body + body)

    def empty(self, name, body):
        self.answer(b"")

    def unsized(self, name, body):
        """Half the file without a word of its size, as HTTP/1.0 allowed it."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])

    def chunks(self, name, body):
        """Pieces whose sizes are no numbers."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"zzz\r\n" + body)

    def rubbish(self, name, body):
        self.wfile.write(body[:1000])

    def headers_without_colon(self, name, body):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length 1000\r\n\r\nLog in")

    def headers_without_end(self, name, body):
        self.send_response(200)
        for number in range(1000):
            self.send_header(f"X-{number}", "x" * 100)
        self.end_headers()

    def endless(self, name, body):
        """As much as is taken, for ever."""
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(bytes(1 << 16))

    def trickle(self, name, body):
        """A byte from time to time, for ever."""
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        while not self.server.closing.wait(timeout=0.1):
            self.wfile.write(b"x")

    def trickle_of_chunks(self, name, body):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.closing.wait(timeout=0.1):
            self.wfile.write(b"1\r\nx\r\n")

    def trickle_of_headers(self, name, body):
        self.send_response(200)
        self.flush_headers()
        while not self.server.closing.wait(timeout=0.1):
            self.wfile.write(b"x")

    def to_nowhere(self, name, body):
        self.send_response(302)
        self.end_headers()

    def to_a_file(self, name, body):
        self.send_response(302)
        self.send_header("Location", f"file://{self.server.folder / name}")
        self.end_headers()

    def stall(self, name, body):
        self.server.closing.wait(timeout=60)

    def halfway(self, name, body):
        """Half the file, and then nothing."""
        self.answer(body[: len(body) // 2], length=len(body))
        self.wfile.flush()
        self.server.sent_half.set()
        self.server.closing.wait(timeout=60)

    def close(self, name, body):
        self.close_connection = True

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder):
    """Serve the files in `folder`; yield the server, with `.address` and the list `.requests`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder = Path(folder)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.requests = []
    server.sent_half, server.closing = threading.Event(), threading.Event()
    server.two_clients = threading.Barrier(2)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
