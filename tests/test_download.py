"""Downloading MNIST from mirrors that misbehave, each in its own way.

No real mirror is asked: a server on this machine offers a small set, whose digests stand in for MNIST's.
"""

import errno
import gzip
import http
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.parse

import pooch
import pytest

import input_data
from http_server import serve
from test_input_data import NAMES, ROOT, digests, small_set, write

FINAL = sorted(f"{name}.gz" for name in NAMES)


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    write(folder, small_set())
    monkeypatch.setattr(input_data, "OFFICIAL", digests(small_set()))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(input_data, "READ_TIMEOUT", 1)
    monkeypatch.setattr(input_data, "PATIENCE", 3)
    with serve(folder) as server:
        yield server


def use(monkeypatch, server, *behaviours):
    monkeypatch.setattr(input_data, "MIRRORS", [f"{server.address}/{b}/" for b in behaviours])


def read(folder, **arguments):
    return input_data.read_data_sets(folder, validation_size=1, **arguments)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_mirrors_are_https():
    # Read anew: another test's fixture replaces the list.
    source = (ROOT / "input_data.py").read_text(encoding="utf-8")
    mirrors = source.partition("MIRRORS = [")[2].partition("]")[0].split(",")
    addresses = [
        urllib.parse.urlsplit(mirror.strip(' "\n')) for mirror in mirrors if mirror.strip()
    ]
    assert len(addresses) >= 3 and {address.scheme for address in addresses} == {"https"}


def test_downloads_four_files(tmp_path, server, monkeypatch, capsys):
    use(monkeypatch, server, "good")
    folder = tmp_path / "new" / "MNIST_data"
    assert read(folder).train.name == "MNIST"
    assert contents(folder) == contents(server.folder)
    printed = capsys.readouterr()
    assert printed.out == "" and "train-images-idx3-ubyte.gz: 100%" in printed.err
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())
    read(folder)
    assert len(server.requests) == 4  # the second time, nothing is downloaded


def test_downloads_official_mnist(tmp_path, mnist_data, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(mnist_data) as server:
        use(monkeypatch, server, "wrong", "good")
        assert read(tmp_path).train.name == "MNIST"
    for file in FINAL:
        assert (tmp_path / file).read_bytes() == pathlib.Path(server.folder, file).read_bytes()


def test_only_missing_files_are_downloaded(tmp_path, server, monkeypatch):
    use(monkeypatch, server, "good")
    (tmp_path / NAMES[0]).write_bytes(
        gzip.decompress((server.folder / f"{NAMES[0]}.gz").read_bytes())
    )
    read(tmp_path)
    assert [name for _, name in server.requests] == [f"{name}.gz" for name in NAMES[1:]]


BAD = {
    "503": "answered 503 Service Unavailable",
    "404": "answered 404 Not Found",
    "html": "delivered something other than MNIST's file",
    "wrong": "delivered something other than MNIST's file",
    "short": "delivered something other than MNIST's file",
    "cut": "broke off the connection",
    "close": "broke off the connection",
    "stall": "sent nothing for 1 s",
    "halfway": "sent nothing for 1 s",
    "circle": "redirected too often",
    "long": "delivered something other than MNIST's file",
    "empty": "delivered something other than MNIST's file",
    "unsized": "delivered something other than MNIST's file",
    "to_nowhere": "delivered something other than MNIST's file",
    "chunks": "broke off the connection",
    "rubbish": "gave a garbled answer",
    "headers_without_end": "gave a garbled answer",
    "trickle": "delivered less than 1,000 bytes a second",
    "trickle_of_chunks": "delivered less than 1,000 bytes a second",
    "trickle_of_headers": "delivered less than 1,000 bytes a second",
}
FAILURES = [status for status in http.HTTPStatus if status >= 400]


@pytest.mark.parametrize("behaviour", [*BAD, "to_a_file"])
def test_next_mirror_is_tried(tmp_path, server, monkeypatch, behaviour):
    use(monkeypatch, server, behaviour, "good")
    folder = tmp_path / "MNIST_data"
    read(folder)
    assert contents(folder) == contents(server.folder)
    asked = {name for asked, name in server.requests if asked == behaviour}
    assert asked == {f"{NAMES[0]}.gz"}  # a mirror that failed is not asked for the other files


def test_every_failure_that_http_knows(tmp_path, server, monkeypatch):
    use(monkeypatch, server, *(status.value for status in FAILURES))
    with pytest.raises(input_data.DownloadError) as caught:
        read(tmp_path)
    told = str(caught.value).split("\n")[1:-1]
    assert [line.split(": ")[1] for line in told] == [
        f"answered {status} {status.phrase}" for status in FAILURES
    ]


def test_proxies_that_answer_with_a_page(tmp_path, server, monkeypatch):
    for scheme in "http", "https":
        monkeypatch.setenv(f"{scheme}_proxy", server.address)
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", server.address)
    monkeypatch.setattr(
        input_data, "MIRRORS", ["http://mnist.invalid/html/", "https://mnist.invalid/good/"]
    )
    with pytest.raises(input_data.DownloadError) as caught:
        read(tmp_path)
    page, tls = str(caught.value).split("\n")[1:-1]
    assert page == "  mnist.invalid: delivered something other than MNIST's file"
    assert tls == "  mnist.invalid: could not be reached safely (TLS error)"
    assert list(tmp_path.glob("*.gz")) == []


def test_unreachable_mirrors_are_skipped(tmp_path, server, monkeypatch):
    monkeypatch.setattr(
        input_data,
        "MIRRORS",
        [
            f"http://127.0.0.1:{closed_port()}/",
            f"https{server.address[4:]}/good/",
            f"{server.address}/redirect",
        ],
    )
    read(tmp_path / "MNIST_data")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)


def test_no_mirror_delivers(tmp_path, server, monkeypatch):
    port = closed_port()
    use(monkeypatch, server, *BAD)
    monkeypatch.setattr(
        input_data,
        "MIRRORS",
        input_data.MIRRORS
        + [
            f"http://127.0.0.1:{port}/",
            f"https{server.address[4:]}/tls/",
            "ftp://example.invalid/",
        ],
    )
    folder = tmp_path / "MNIST_data"
    with pytest.raises(input_data.DownloadError) as caught:
        read(folder)
    assert isinstance(caught.value, OSError)
    host = server.address[len("http://") :]
    assert str(caught.value).split("\n") == [
        "train-images-idx3-ubyte.gz could not be downloaded:",
        *(f"  {host}: {reason}" for reason in BAD.values()),
        f"  127.0.0.1:{port}: could not be reached (connection refused)",
        f"  {host}: could not be reached safely (TLS error)",
        "  example.invalid: could not be asked (No connection adapters were found for "
        "'ftp://example.invalid/train-images-idx3-ubyte.gz')",
        f"To supply MNIST by hand, put {', '.join(f'{name}.gz' for name in NAMES)} into {str(folder)!r}.",
    ]
    assert list(folder.iterdir()) == []


def test_name_lookup_fails(tmp_path, monkeypatch):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(input_data, "MIRRORS", ["http://user:secret@mnist.invalid/files/"])
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(input_data.DownloadError) as caught:
        read(tmp_path)
    assert "\n  mnist.invalid: could not be reached (name lookup failed)\n" in str(caught.value)


def test_no_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(input_data, "CONNECT_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # they fill the queue; nobody accepts
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        monkeypatch.setattr(input_data, "MIRRORS", ["http://127.0.0.1:%d/" % address[1]])
        with pytest.raises(input_data.DownloadError, match=r"\(no connection within 0.5 s\)"):
            read(tmp_path)
        for client in waiting:
            client.close()


def test_proxy_is_used(tmp_path, server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setattr(input_data, "MIRRORS", ["http://mnist.invalid/good/"])
    read(tmp_path / "MNIST_data")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)


def test_proxy_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setattr(input_data, "MIRRORS", ["http://mnist.invalid/"])
    with pytest.raises(input_data.DownloadError, match="mnist.invalid: .*the proxy failed"):
        read(tmp_path)


# source_url


@pytest.mark.parametrize("slash", ["", "/"])
def test_source_url_may_offer_another_data_set(tmp_path, server, monkeypatch, capsys, slash):
    write(server.folder, small_set(seed=1))
    use(monkeypatch, server, "503")
    mnist = read(tmp_path / "MNIST_data", source_url=f"{server.address}/good{slash}")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)
    assert {behaviour for behaviour, _ in server.requests} == {"good"}
    assert "not MNIST's official" in mnist.test.name and capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "behaviour, reason",
    [
        (
            "html",
            "something other than MNIST's file: train-images-idx3-ubyte.gz is not an intact gzip file",
        ),
        (
            "short",
            "something other than MNIST's file: train-images-idx3-ubyte.gz is not an intact gzip file",
        ),
        ("503", "answered 503"),
        ("cut", "broke off"),
    ],
)
def test_source_url_has_no_file(tmp_path, server, behaviour, reason):
    folder = tmp_path / "MNIST_data"
    with pytest.raises(input_data.DownloadError, match=reason):
        read(folder, source_url=f"{server.address}/{behaviour}")
    assert list(folder.iterdir()) == []


# The folder's fault, not the mirrors'.


def test_folder_that_cannot_be_made(tmp_path, server, monkeypatch):
    use(monkeypatch, server, "good", "good")
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "MNIST_data"):
        with pytest.raises(OSError) as caught:
            read(folder)
        assert not isinstance(caught.value, input_data.DownloadError)
        assert repr(str(folder)) in str(caught.value) and "\n" not in str(caught.value)
    assert server.requests == []


def test_full_disk(tmp_path, server, monkeypatch):
    def no_space(self, url, path, _):
        pathlib.Path(path).write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    use(monkeypatch, server, "good", "good")
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", no_space)
    with pytest.raises(OSError, match="No space left on device") as caught:
        read(tmp_path / "MNIST_data")
    assert not isinstance(caught.value, input_data.DownloadError)
    assert str(tmp_path / "MNIST_data") in str(caught.value)
    assert contents(tmp_path / "MNIST_data") == {}


# Other processes: interrupted, killed, two at once.

SCRIPT = """if True:
    import json, sys, input_data
    folder, input_data.MIRRORS, input_data.OFFICIAL = json.loads(sys.argv[1])
    print(input_data.read_data_sets(folder, validation_size=1).train.name)"""


def start(folder, address):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    setup = json.dumps([str(folder), [address], input_data.OFFICIAL])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, setup],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle(tmp_path, server, monkeypatch, how):
    folder = tmp_path / "MNIST_data"
    process = start(folder, f"{server.address}/halfway/")
    assert server.sent_half.wait(timeout=60)
    process.send_signal(how)
    process.communicate(timeout=60)
    left = contents(folder)
    assert not set(left) & set(FINAL)
    if how == signal.SIGINT:
        assert left == {}
    use(monkeypatch, server, "good")
    assert read(folder).train.name == "MNIST"
    assert {file: contents(folder)[file] for file in FINAL} == contents(server.folder)


def test_two_at_once(tmp_path, server):
    folder = tmp_path / "MNIST_data"
    processes = [start(folder, f"{server.address}/together/") for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output) == (0, "MNIST\n"), errors
        assert "Downloading data" not in errors  # pooch's own lines
    assert contents(folder) == contents(server.folder)
