"""Downloading MNIST from mirrors that misbehave, each in its own way.

No real mirror is asked: a server on this machine offers a small set, whose digests stand in for
MNIST's.
"""

import contextlib
import errno
import gzip
import http
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import input_data
from support import download as mirrors

import pytest
from tqdm import tqdm

from helpers.http_server import serve
from helpers.small_mnist import NAMES, digests, small_set, write

ROOT = Path(input_data.__file__).resolve().parent
MIRRORS = list(input_data.MIRRORS)  # before a fixture replaces them
FINAL = sorted(f"{name}.gz" for name in NAMES)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(input_data, "MIRRORS", [])
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # Tests wait for these in vain, or not at all.
    monkeypatch.setattr(mirrors, "ANSWER_WITHIN", 1)
    monkeypatch.setattr(mirrors, "PATIENCE", 1.5)


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    write(folder, small_set())
    monkeypatch.setattr(input_data, "OFFICIAL", digests(small_set()))
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


@contextlib.contextmanager
def swallowed_packets():
    """An address where whoever wants a connection hears nothing, neither yes nor no."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # they fill the queue; nobody accepts
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        yield address
        for client in waiting:
            client.close()


def why_none_delivers(folder):
    """The reasons that are told, one a mirror."""
    with pytest.raises(input_data.DownloadError) as caught:
        read(folder)
    return [line.split(": ", 1)[1] for line in str(caught.value).split("\n")[1:-1]]


def test_mirrors():
    addresses = [urllib.parse.urlsplit(mirror) for mirror in MIRRORS]
    assert {address.scheme for address in addresses} == {"https"}
    assert len({address.hostname for address in addresses}) == len(MIRRORS) >= 4
    assert all(address.path.endswith("/") for address in addresses)


def test_silent_mirrors_cost_less_than_fifteen_seconds_in_all(monkeypatch):
    monkeypatch.undo()
    assert mirrors.ANSWER_WITHIN <= 3 and mirrors.ANSWER_WITHIN * len(MIRRORS) <= 12


# Mirrors that deliver.


@pytest.mark.parametrize("folder", ["new/MNIST_data", "数字 é"])
def test_downloads_four_files(tmp_path, server, monkeypatch, capsys, folder):
    use(monkeypatch, server, "good")
    folder = tmp_path / folder
    assert read(folder).train.name == "MNIST"
    assert contents(folder) == contents(server.folder)
    printed = capsys.readouterr()
    assert printed.out == f"Downloading MNIST from {server.address[len('http://') :]} ...\n"
    assert all(f"{name}.gz: 100%" in printed.err for name in NAMES)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())
    read(folder)
    assert len(server.requests) == 4  # the second time, nothing is downloaded


def test_downloads_official_mnist(tmp_path, mnist_data, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(mnist_data) as server:
        use(monkeypatch, server, "wrong", "good")
        assert read(tmp_path).train.name == "MNIST"
    for file in FINAL:
        assert (tmp_path / file).read_bytes() == Path(server.folder, file).read_bytes()


def test_only_missing_files_are_downloaded(tmp_path, server, monkeypatch):
    use(monkeypatch, server, "good")
    (tmp_path / NAMES[0]).write_bytes(
        gzip.decompress((server.folder / f"{NAMES[0]}.gz").read_bytes())
    )
    read(tmp_path)
    assert [name for _, name in server.requests] == [f"{name}.gz" for name in NAMES[1:]]


class Unread(io.StringIO):
    """A pipe that nobody reads any more, as behind `| head`."""

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.mark.parametrize("stream", [None, Unread()], ids=["none", "unread"])
def test_without_output(tmp_path, server, monkeypatch, stream):
    use(monkeypatch, server, "good")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    assert read(tmp_path).train.name == "MNIST"


def test_a_bar_that_nobody_reads_keeps_no_lock(tmp_path, server, monkeypatch):
    """A bar that failed while it has tqdm's lock would stop the bars of all other threads."""
    use(monkeypatch, server, "good")
    monkeypatch.setattr(sys, "stderr", Unread())
    read(tmp_path)

    def take():
        with tqdm.get_lock():
            pass

    other = threading.Thread(target=take, daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive()


def test_proxy_is_used(tmp_path, server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setattr(input_data, "MIRRORS", ["http://mnist.invalid/good/"])
    read(tmp_path / "MNIST_data")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)


# Mirrors that do not: the next one is tried.

SOMETHING_ELSE = "delivered something other than MNIST's file"
BAD = {
    "503": "answered 503 Service Unavailable",
    "404": "answered 404 Not Found",
    "html": SOMETHING_ELSE,
    "wrong": SOMETHING_ELSE,
    "short": SOMETHING_ELSE,
    "long": SOMETHING_ELSE,
    "empty": SOMETHING_ELSE,
    "unsized": SOMETHING_ELSE,
    "to_nowhere": SOMETHING_ELSE,
    "headers_without_colon": SOMETHING_ELSE,
    "cut": "broke off the connection",
    "close": "broke off the connection",
    "chunks": "broke off the connection",
    "circle": "redirected too often",
    "rubbish": "gave a garbled answer",
    "headers_without_end": "gave a garbled answer",
    "halfway": "sent nothing for 1.5 s",
    "stall": "did not answer within 1 s",
    "redirect_to_silence": "did not answer within 1 s",
    "trickle_of_headers": "did not answer within 1 s",
    "trickle": "delivered less than 1,000 bytes a second",
    "trickle_of_chunks": "delivered less than 1,000 bytes a second",
    "endless": "sent more than 1,000,000 bytes",
}


@pytest.mark.parametrize("behaviour", BAD)
def test_next_mirror_is_tried(tmp_path, server, monkeypatch, caplog, behaviour):
    monkeypatch.setattr(mirrors, "LARGEST", 1_000_000)
    bad, good = (f"{server.address}/{path}" for path in [behaviour, "good"])
    source, folder = mirrors.Mirrors("MNIST", [bad, good]), tmp_path / "MNIST_data"
    for name in NAMES:
        path = source.fetch(f"{name}.gz", folder, input_data.OFFICIAL[name][0])
        assert path == folder / f"{name}.gz"
    assert contents(folder) == contents(server.folder)
    assert source.failures == {bad: BAD[behaviour]}
    assert caplog.messages == []  # what a library would say stands in the failures
    # A mirror that failed is not asked for the other files, and from the good one each comes once.
    assert {name for asked, name in server.requests if asked == behaviour} == {f"{NAMES[0]}.gz"}
    delivered = [name for asked, name in server.requests if asked == "good"]
    assert delivered == [f"{name}.gz" for name in NAMES]


FAILURES = [status for status in http.HTTPStatus if status >= 400]


def test_every_failure_that_http_knows(tmp_path, server, monkeypatch):
    use(monkeypatch, server, *(status.value for status in FAILURES))
    assert why_none_delivers(tmp_path) == [
        f"answered {status} {status.phrase}" for status in FAILURES
    ]


def test_mirrors_that_cannot_be_asked_are_skipped(tmp_path, server, monkeypatch):
    unreachable = [
        f"http://127.0.0.1:{closed_port()}/",
        f"https{server.address[4:]}/good/",
        f"{server.address}/to_a_file/",
        f"{server.address}/redirect",
    ]
    monkeypatch.setattr(input_data, "MIRRORS", unreachable)
    read(tmp_path / "MNIST_data")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)


@pytest.mark.parametrize("behaviour", ["trickle", "wrong", "503"])
def test_temporary_file_that_cannot_be_removed(tmp_path, server, monkeypatch, behaviour):
    """As on Windows, while another program has it open."""

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "The process cannot access the file", str(path))

    for module, name in [(os, "remove"), (os, "unlink"), (Path, "unlink")]:
        monkeypatch.setattr(module, name, refuse)
    use(monkeypatch, server, behaviour, "good")
    assert read(tmp_path / "MNIST_data").train.name == "MNIST"
    use(monkeypatch, server, behaviour)
    assert why_none_delivers(tmp_path / "other") == [BAD[behaviour]]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a list of open files")
def test_a_mirror_that_was_given_up_keeps_no_file_open(tmp_path, server, monkeypatch):
    use(monkeypatch, server, "trickle")
    folder = tmp_path / "MNIST_data"
    with pytest.raises(input_data.DownloadError):
        read(folder)
    with contextlib.suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
        opened = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir()]
        assert not [path for path in opened if path.startswith(str(folder))]


def test_no_mirror_delivers(tmp_path, server, monkeypatch):
    port = closed_port()
    odd = [
        f"http://127.0.0.1:{port}/",
        f"https{server.address[4:]}/tls/",
        "ftp://example.invalid/",
    ]
    use(monkeypatch, server, "503", "html")
    monkeypatch.setattr(input_data, "MIRRORS", input_data.MIRRORS + odd)
    folder = tmp_path / "MNIST_data"
    with pytest.raises(input_data.DownloadError) as caught:
        read(folder)
    assert isinstance(caught.value, OSError)
    host = server.address[len("http://") :]
    assert str(caught.value).split("\n") == [
        "train-images-idx3-ubyte.gz could not be downloaded:",
        f"  {host}: {BAD['503']}",
        f"  {host}: {BAD['html']}",
        f"  127.0.0.1:{port}: could not be reached (connection refused)",
        f"  {host}: could not be reached safely (TLS error)",
        "  example.invalid: could not be asked (No connection adapters were found for "
        "'ftp://example.invalid/train-images-idx3-ubyte.gz')",
        f"To supply MNIST by hand, put {', '.join(f'{name}.gz' for name in NAMES)} into {folder}.",
    ]
    assert list(folder.iterdir()) == []


# Networks that swallow.


def test_no_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "CONNECT_TIMEOUT", 0.2)
    with swallowed_packets() as address:
        monkeypatch.setattr(input_data, "MIRRORS", ["http://{}:{}/".format(*address)])
        assert why_none_delivers(tmp_path) == ["could not be reached (no connection within 0.2 s)"]


def test_no_greeting(tmp_path, monkeypatch):
    """As where packets that name the host are swallowed: TCP connects, and TLS hears nothing."""
    monkeypatch.setattr(mirrors, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(
            input_data, "MIRRORS", ["https://{}:{}/".format(*listener.getsockname())]
        )
        assert why_none_delivers(tmp_path) == ["could not be reached (no connection within 0.2 s)"]


def test_a_name_with_many_addresses_costs_no_more_than_one(tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors, "CONNECT_TIMEOUT", 0.5)
    with swallowed_packets() as address:
        found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [found] * 100)
        monkeypatch.setattr(input_data, "MIRRORS", ["http://mnist.invalid/"])
        # Were all addresses tried, the last would end in "no connection".
        assert why_none_delivers(tmp_path) == ["did not answer within 1 s"]


def test_a_second_address_is_tried_in_time(tmp_path, server, monkeypatch):
    monkeypatch.setattr(mirrors, "CONNECT_TIMEOUT", 0.2)
    good = ("127.0.0.1", int(server.address.rpartition(":")[2]))
    with swallowed_packets() as address:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in (address, good)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(input_data, "MIRRORS", ["http://mnist.invalid/good/"])
        assert read(tmp_path / "MNIST_data").train.name == "MNIST"


def test_name_server_that_is_silent(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(mirrors, "ANSWER_WITHIN", 0.3)
    shown_meanwhile, over = [], threading.Event()

    def getaddrinfo(host, *_, **__):
        shown_meanwhile.append(capsys.readouterr().out)
        over.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(
        input_data, "MIRRORS", ["http://one.invalid/", "http://user:secret@two.invalid/"]
    )
    try:
        assert why_none_delivers(tmp_path) == ["did not answer within 0.3 s"] * 2
    finally:
        over.set()
    assert shown_meanwhile == [
        "Downloading MNIST from one.invalid ...\n",
        "Downloading MNIST from two.invalid ...\n",
    ]


def test_name_lookup_fails(tmp_path, monkeypatch):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(input_data, "MIRRORS", ["http://user:secret@mnist.invalid/files/"])
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(input_data.DownloadError) as caught:
        read(tmp_path)
    assert "\n  mnist.invalid: could not be reached (name lookup failed)\n" in str(caught.value)


# Proxies that fail.


def test_proxies_that_answer_with_a_page(tmp_path, server, monkeypatch):
    for scheme in "http", "https":
        monkeypatch.setenv(f"{scheme}_proxy", server.address)
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", server.address)
    monkeypatch.setattr(
        input_data, "MIRRORS", ["http://mnist.invalid/html/", "https://mnist.invalid/good/"]
    )
    assert why_none_delivers(tmp_path) == [
        SOMETHING_ELSE,
        "could not be reached safely (TLS error)",
    ]
    assert list(tmp_path.glob("*.gz")) == []


def test_proxy_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setattr(input_data, "MIRRORS", ["http://mnist.invalid/"])
    assert why_none_delivers(tmp_path) == ["could not be reached (the proxy failed)"]


def test_missing_certificates_are_not_the_folders_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    monkeypatch.setattr(input_data, "MIRRORS", [f"https://127.0.0.1:{closed_port()}/"])
    assert why_none_delivers(tmp_path) == ["could not be reached"]


# source_url


@pytest.mark.parametrize("slash", ["", "/"])
def test_source_url_may_offer_another_data_set(tmp_path, server, monkeypatch, capsys, slash):
    write(server.folder, small_set(seed=1))
    use(monkeypatch, server, "503")
    mnist = read(tmp_path / "MNIST_data", source_url=f"{server.address}/good{slash}")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)
    assert {behaviour for behaviour, _ in server.requests} == {"good"}
    assert "not MNIST's official" in mnist.test.name
    assert capsys.readouterr().out.count("Not MNIST's official") == 1


NO_GZIP = f"{SOMETHING_ELSE}: train-images-idx3-ubyte.gz is not an intact gzip file"


@pytest.mark.parametrize(
    "behaviour, reason",
    [("html", NO_GZIP), ("short", NO_GZIP), ("503", "answered 503"), ("cut", "broke off")],
)
def test_source_url_has_no_file(tmp_path, server, behaviour, reason):
    folder = tmp_path / "MNIST_data"
    with pytest.raises(input_data.DownloadError, match=reason):
        read(folder, source_url=f"{server.address}/{behaviour}")
    assert list(folder.iterdir()) == []


# MNIST, or digits that the program draws.


@pytest.fixture
def few_digits(monkeypatch):
    monkeypatch.setattr(input_data.generated_digits, "TRAIN_SIZE", 30)
    monkeypatch.setattr(input_data.generated_digits, "TEST_SIZE", 20)


def test_mnist_where_a_mirror_delivers(tmp_path, server, monkeypatch, few_digits):
    use(monkeypatch, server, "good")
    data = input_data.read_or_generate(tmp_path, seed=1)
    assert [part.num_examples for part in data] == [12, 0, 5] and data.train.name == "MNIST"
    again = input_data.read_data_sets(tmp_path, validation_size=0, seed=1)
    assert (data.train.next_batch(20)[0] == again.train.next_batch(20)[0]).all()


def test_generated_digits_where_none_does(tmp_path, server, monkeypatch, capsys, few_digits):
    use(monkeypatch, server, "503")
    data = input_data.read_or_generate(tmp_path / "数字", seed=1)
    assert [part.num_examples for part in data] == [30, 0, 20]
    assert {part.name for part in data} == {input_data.GENERATED}
    said = capsys.readouterr().out
    assert "answered 503" in said and str(tmp_path / "数字") in said
    assert said.endswith("the network learns from digits that this program draws itself.\n")


# The folder's fault, not the mirrors'.


def test_folder_that_cannot_be_made(tmp_path, server, monkeypatch):
    use(monkeypatch, server, "good", "good")
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "MNIST_data"):
        with pytest.raises(OSError) as caught:
            read(folder)
        assert not isinstance(caught.value, input_data.DownloadError)
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
        assert "mend that or name another folder" in str(caught.value)
    assert server.requests == []


def test_full_disk(tmp_path, server, monkeypatch):
    def no_space(path, data):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    use(monkeypatch, server, "good", "good")
    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(OSError, match="No space left on device") as caught:
        read(tmp_path / "MNIST_data")
    assert not isinstance(caught.value, input_data.DownloadError)
    assert str(tmp_path / "MNIST_data") in str(caught.value)
    assert contents(tmp_path / "MNIST_data") == {}


# Other processes: interrupted, killed, two at once, none that answers.

SCRIPT = """if True:
    import json, sys, input_data
    folder, input_data.MIRRORS, input_data.OFFICIAL = json.loads(sys.argv[1])
    print(input_data.read_data_sets(folder, validation_size=1).train.name)"""

# A name server that is silent for as long as the program lives.
SILENT = """if True:
    import socket, threading
    from support import download as mirrors
    mirrors.ANSWER_WITHIN = 0.2
    socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
    """


def start(folder, address, script=SCRIPT):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    setup = json.dumps([str(folder), [address], input_data.OFFICIAL])
    return subprocess.Popen(
        [sys.executable, "-c", script, setup],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_a_request_that_was_given_up_does_not_keep_the_program_from_ending(tmp_path):
    process = start(tmp_path, "http://mnist.invalid/", f"{SILENT}\n{SCRIPT}")
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and "did not answer within 0.2 s" in errors


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
        assert process.returncode == 0 and output.endswith("...\nMNIST\n"), errors
        assert "Downloading data" not in errors  # pooch's own lines
    assert contents(folder) == contents(server.folder)
