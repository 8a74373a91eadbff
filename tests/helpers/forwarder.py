"""A forwarder in front of draw.py: one with a sub-path that rewrites Host, as nginx does."""

import contextlib
import http.client
import http.server
import threading


class Forwarder(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.removeprefix("/digits/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for start, (status, kind, text) in self.server.instead.items():
            if path.startswith(start):
                return self.answer(status, {"Content-Type": kind, "Location": "/login"}, text)
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        with contextlib.closing(connection):
            connection.request(self.command, f"/{path}", body, headers)
            response = connection.getresponse()
            self.answer(response.status, dict(response.getheaders()), response.read())

    do_POST = do_GET

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def forwarding(port):
    """Forward http://127.0.0.1:<.server_port>/digits/x to /x at a port of this machine.

    `.instead` has the answers that it gives itself: {start of x: (status, type, body)}.
    """
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forwarder) as server:
        server.behind, server.instead = port, {}
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
