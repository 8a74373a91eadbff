"""A file from the first mirror that delivers it, and in plain words why the others did not."""

import contextlib
import functools
import http.client
import io
import logging
import math
import os
import socket
import threading
import time
import warnings
from pathlib import Path

from support import terminal

from requests import exceptions

with warnings.catch_warnings():  # in a notebook, it asks for widgets that nobody needs here
    warnings.simplefilter("ignore")
    import pooch

ANSWER_WITHIN = 3  # seconds: name lookup, connection, redirects and the answer's headers together
CONNECT_TIMEOUT = 1.4  # seconds for one address; a lost first packet is sent again after one second
SLOWEST = 1000  # bytes a second; a mirror that delivers less is given up, however steadily
PATIENCE = 15  # seconds over which that is measured, and seconds without a single byte
LARGEST = 250_000_000  # bytes in memory; MNIST's largest file has 10 million


class NotDeliveredError(OSError):
    """No mirror delivered a file; the message names each mirror and says why, one line each."""


class Mirrors:
    """Copies of the same files at several addresses; one that failed is not asked again.

    Attributes:
        failures: {address: why it failed}.
    """

    def __init__(self, what, addresses):
        """Take a name for what the files hold, such as "MNIST", and the addresses, best first."""
        self.failures = {}
        self._what = what
        self._addresses = addresses
        self._announced = None

    def fetch(self, file, folder, digest=None, check=None):
        """Return the path of the file in the folder, once a mirror has delivered it whole.

        Args:
            file: its name, at the mirrors and in the folder.
            folder: where it is to lie; it is made if missing.
            digest: the SHA-256 that it must have, or None.
            check: for a file without a digest, a function that takes its path, before it appears
                under its name, and raises ValueError if it is not what was asked for.

        Raises:
            NotDeliveredError: no mirror delivered it.
            OSError: the folder cannot be written to.
        """
        pooch.get_logger().setLevel("WARNING")  # the bar says it already
        logging.getLogger("urllib3").setLevel("ERROR")  # what is wrong stands in `failures`
        for address in self._addresses:
            if address in self.failures:
                continue
            url = f"{address.rstrip('/')}/{file}"
            save = functools.partial(self._save, address, check)
            try:
                # pooch makes the folder, writes to a temporary file, compares the digest, renames.
                return Path(pooch.retrieve(url, digest, file, folder, downloader=save))
            except (OSError, ValueError) as error:
                error = _first(error)
                told = f": {file} {error}" if check else ""  # pooch would tell two digests
                self.failures[address] = self._why(error, told, folder)
        raise NotDeliveredError(
            "\n".join(
                [f"{file} could not be downloaded:"]
                + [f"  {_host(address)}: {why}" for address, why in self.failures.items()]
            )
        )

    def _save(self, address, check, url, path, _):
        if self._announced != address:
            terminal.say(f"Downloading {self._what} from {_host(address)} ...")
            self._announced = address
        Path(path).write_bytes(_download(url))
        with contextlib.suppress(OSError):
            os.chmod(path, 0o644)  # a temporary file is its owner's alone
        if check:
            check(path)

    def _why(self, error, told, folder):
        """Say in plain words why a mirror failed; raise OSError if the folder is to blame."""
        if isinstance(error, exceptions.RequestException):
            return _reason(error)
        if isinstance(error, ValueError):  # from `check` or pooch
            return f"delivered something other than {self._what}'s file{told}"
        raise type(error)(
            f"{self._what} cannot be downloaded into {folder} ({error.strerror or error}); "
            "mend that or name another folder"
        ) from error


def _first(error):
    """Return the error that came first, where a temporary file could not be removed after it.

    Windows removes no file that another program, such as a virus scanner, holds open.
    """
    while isinstance(error, PermissionError) and isinstance(
        error.__context__, (OSError, ValueError)
    ):
        error = error.__context__
    return error


def _host(address):
    return address.split("//")[-1].split("/")[0].split("@")[-1]  # a password is not shown


class _SilentError(exceptions.RequestException):
    """A mirror does not begin to answer within ANSWER_WITHIN."""


class _SlowError(exceptions.RequestException):
    """A mirror delivers less than SLOWEST."""


class _EndlessError(exceptions.RequestException):
    """A mirror sends more than LARGEST."""


class _Request(threading.Thread):
    """A request in a thread of its own, because only so it can be given up at any moment.

    A connection's timeouts begin anew with each address of a name and with each byte, and a name's
    lookup has none. What is received lies in memory: a thread that was given up holds no file open.
    """

    def __init__(self, url):
        super().__init__(daemon=True)  # as a daemon it cannot keep the program from ending
        self.url = url
        self.answered = False
        self.total = None
        self.received = io.BytesIO()
        self.error = None

    def run(self):
        download = pooch.HTTPDownloader(
            chunk_size=1 << 12,  # so small that a slow mirror's file is seen to grow
            timeout=(CONNECT_TIMEOUT, PATIENCE),
            headers={"Accept-Encoding": "identity"},  # as it lies there: its size is known
            hooks={"response": self._note},
        )
        try:
            download(self.url, self.received, None)
        except Exception as error:
            self.error = self._told_rightly(error)

    def _told_rightly(self, error):
        if isinstance(error, exceptions.ReadTimeout) and not self.answered:
            return exceptions.ConnectTimeout(error)  # to requests, TLS's greeting is reading
        if isinstance(error, OSError) and not isinstance(error, exceptions.RequestException):
            return exceptions.RequestException(error)  # no certificates: not the folder's fault
        return error

    def _note(self, response, **_):
        self.answered = not response.is_redirect
        with contextlib.suppress(KeyError, ValueError):
            self.total = int(response.headers["Content-Length"])


def _download(url):
    """Return what lies at the address, as a buffer of bytes, while a bar shows how far it is."""
    request, bar = _Request(url), _bar(url)
    request.start()
    try:
        _wait(request, bar)
        if request.error:
            raise request.error
    except BaseException:
        request.received.close()  # a thread that was given up ends with its next write
        bar.leave = False
        bar.delay = 0 if bar.n else math.inf  # there is something to wipe off the screen, or not
        raise
    finally:
        bar.close()
    return request.received.getbuffer()


def _wait(request, bar):
    """Wait for the end of the request; raise an error of the mirror's when it takes too long."""
    began = measured = time.monotonic()
    before = 0
    while True:
        request.join(0.05)  # not longer: on Windows, Ctrl-C comes through only between two waits
        ended, size, now = not request.is_alive(), request.received.tell(), time.monotonic()
        bar.total = request.total
        bar.update(size - bar.n)
        if ended:
            return
        if not request.answered and now - began > ANSWER_WITHIN:
            raise _SilentError
        if size > LARGEST:
            raise _EndlessError
        if now - measured > PATIENCE:
            if size - before < SLOWEST * PATIENCE:
                raise _SlowError
            measured, before = now, size


def _bar(url):
    bar = terminal.bar(
        desc=url.rpartition("/")[2],
        unit="B",
        unit_scale=True,
        delay=1e-6,  # off the screen until something arrives
        mininterval=0.1 if terminal.is_watched() else 10,  # keeps a log file short
    )
    bar.delay = 0  # but shown at its end, however quick that comes
    return bar


def _reason(error):
    """Say in plain words why a request failed."""
    if isinstance(error, exceptions.HTTPError):
        status = error.response.status_code
        return f"answered {status} {http.client.responses.get(status, '')}".strip()
    causes = []  # requests wraps what went wrong in two or three exceptions
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    for kind, words in [
        (_SilentError, f"did not answer within {ANSWER_WITHIN} s"),
        (_SlowError, f"delivered less than {SLOWEST:,} bytes a second"),
        (_EndlessError, f"sent more than {LARGEST:,} bytes"),
        (exceptions.ProxyError, "could not be reached (the proxy failed)"),
        (exceptions.SSLError, "could not be reached safely (TLS error)"),
        (
            exceptions.ConnectTimeout,
            f"could not be reached (no connection within {CONNECT_TIMEOUT} s)",
        ),
        (TimeoutError, f"sent nothing for {PATIENCE} s"),
        (socket.gaierror, "could not be reached (name lookup failed)"),
        (ConnectionRefusedError, "could not be reached (connection refused)"),
        ((exceptions.ChunkedEncodingError, ConnectionResetError), "broke off the connection"),
        ((exceptions.ContentDecodingError, http.client.HTTPException), "gave a garbled answer"),
        (exceptions.TooManyRedirects, "redirected too often"),
        # requests' word on addresses that it cannot use
        (ValueError, f"could not be asked ({causes[0]})"),
    ]:
        if any(isinstance(cause, kind) for cause in causes):
            return words
    return "could not be reached"
