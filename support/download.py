"""Download files from the first mirror that delivers them, and say why the others did not."""

import contextlib
import functools
import os
import queue
import threading
import time
import urllib.parse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from support import terminal

with warnings.catch_warnings():  # importing pooch warns in a notebook without ipywidgets
    warnings.simplefilter("ignore")
    import pooch

SILENCE = 3  # seconds for name lookup, connection, redirects and headers; later, for any pause
CONNECT = 1.4  # seconds for each IP address of a host, so that a second is tried within SILENCE
SLOWEST, WINDOW = 50_000, 10  # bytes a second since the start, checked from WINDOW seconds on
BAR = {"unit": "B", "unit_scale": True, "mininterval": 0.5}


def fetch(
    what: str,
    mirrors: Sequence[str],
    files: Sequence[str],
    folder: Path,
    check: Callable[[Path, str], object],
) -> None:
    """Download files into a folder, which is created if missing; mirrors: addresses of folders.

    When a mirror fails, the next one is asked for the missing files. Only the last may be slow.
    `check` is called with a temporary file and its final name, and raises ValueError if the file
    is wrong. `what` names the files, such as "MNIST". Raises ConnectionError, which says why each
    mirror failed, or another OSError if the folder cannot be written to.
    """
    pooch.get_logger().setLevel("WARNING")  # the bar replaces pooch's messages
    message = f"{what} could not be downloaded:"
    for address in mirrors:
        host = urllib.parse.urlsplit(address).netloc.rpartition("@")[2] or address  # no password
        terminal.say(f"Downloading {what} from {host} ...")
        save = functools.partial(_save, check, address != mirrors[-1])
        try:
            for file in files:
                # pooch skips existing files. It writes to a temporary file, then renames it.
                url = f"{address.rstrip('/')}/{file}"
                pooch.retrieve(url, None, file, folder, downloader=save)
            return
        except ConnectionError as error:
            message += f"\n  {host}: {error}"
        except ValueError:  # from `check`
            message += f"\n  {host}: delivered something other than {what}'s file"
        except OSError as error:
            why = error.strerror or "no permission"
            sentence = f"{what} cannot be downloaded into {folder} ({why}); name another folder"
            raise OSError(sentence) from error
    raise ConnectionError(message)


def _save(check, fast, url, path, _):
    """Download a file from the url to the path, and show a bar; pooch calls this."""
    # The request runs in a thread, because a name lookup has no time limit and cannot be
    # interrupted. If the mirror is too slow, the thread waits at its full queue.
    items, file = queue.Queue(100), url.rpartition("/")[2]
    threading.Thread(target=_request, args=(url, items), daemon=True).start()
    size, began = _next(items), time.monotonic()
    with open(path, "wb") as output, terminal.bar(total=size, desc=file, **BAR) as bar:
        while piece := _next(items):
            output.write(piece)
            bar.update(len(piece))
            seconds = time.monotonic() - began
            if fast and seconds > WINDOW and output.tell() < SLOWEST * seconds:
                raise ConnectionError("was too slow")
    with contextlib.suppress(OSError):
        os.chmod(path, 0o644)  # at first, only its owner may read a temporary file
    check(Path(path), file)


def _next(items):
    """Return the next item of `_request`; raise ConnectionError if it is an error or too late."""
    try:
        item = items.get(timeout=SILENCE)
    except queue.Empty:
        item = ConnectionError(f"was silent for {SILENCE} s")
    if isinstance(item, ConnectionError):
        raise item
    return item


def _request(url, items):
    """Put the size of the file at the url, or None, then its bytes in pieces, then b""."""
    # requests itself reads REQUESTS_CA_BUNDLE, but not OpenSSL's SSL_CERT_FILE.
    options = {"verify": os.environ.get("SSL_CERT_FILE") or True, "stream": True}
    options |= {"headers": {"Accept-Encoding": "identity"}, "timeout": (CONNECT, 2 * SILENCE)}
    try:
        with requests.get(url, **options) as answer:
            answer.raise_for_status()
            items.put(answer.raw.length_remaining)
            # The pieces are small, so that even a slow mirror delivers some in time.
            for piece in answer.iter_content(1 << 10):
                items.put(piece)
        items.put(b"")
        return
    except requests.HTTPError as error:
        why = f"answered {error.response.status_code} {error.response.reason}"
    except requests.exceptions.SSLError:
        why = "TLS failed; if your network has its own certificate, set SSL_CERT_FILE to its file"
    except requests.exceptions.InvalidSchema:
        why = "the connection failed; if your proxy is a SOCKS proxy, run: pip install pysocks"
    except requests.RequestException as error:
        why = f"the connection failed ({type(error).__name__})"
    except Exception as error:
        why = f"the file of certificates, or the proxy, cannot be used ({error})"
    items.put(ConnectionError(why))
