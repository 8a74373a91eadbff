"""Downloading MNIST from mirrors that behave well or badly, each in its own way.

No real mirror is asked: a server on this machine offers a small set, whose digests stand in for
MNIST's.
"""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time

import pytest

import input_data
from helpers import PROJECT, heed_signals
from helpers.http_server import serve
from helpers.small_mnist import NAMES, digests, small_set, write
from support import download

FILES = [f"{name}.gz" for name in NAMES]
CERTIFICATES = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(input_data, "MIRRORS", [])
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in CERTIFICATES:
            monkeypatch.delenv(name)
    # As shipped, these are 3, 10 and 50,000.
    monkeypatch.setattr(download, "SILENCE", 0.5)
    monkeypatch.setattr(download, "WINDOW", 0.5)
    monkeypatch.setattr(download, "SLOWEST", 20_000)


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    write(folder, small_set())
    monkeypatch.setattr(input_data, "OFFICIAL", digests(small_set()))
    with serve(folder) as server:
        yield server


def use(monkeypatch, *addresses):
    monkeypatch.setattr(input_data, "MIRRORS", list(addresses))


def read(folder, **arguments):
    return input_data.read_data_sets(folder, validation_size=1, **arguments)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_downloads_what_is_missing(tmp_path, server, monkeypatch, capsys):
    use(monkeypatch, f"{server.address}/redirect")
    folder = tmp_path / "new" / "数字 é"
    assert read(folder).train.name == "MNIST"
    assert contents(folder) == contents(server.folder)
    printed = capsys.readouterr()
    assert printed.out == f"Downloading MNIST from {server.address[len('http://') :]} ...\n"
    assert all(f"{file}: 100%" in printed.err for file in FILES)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())
    (folder / FILES[2]).unlink()
    server.requests.clear()
    assert input_data.maybe_download(FILES[2], str(folder)) == str(folder / FILES[2])
    assert read(folder).train.name == "MNIST"
    assert server.requests == [("redirect", FILES[2]), ("good", FILES[2])]


@pytest.mark.parametrize("variable", CERTIFICATES)
def test_own_certificates(tmp_path, server, monkeypatch, variable):
    monkeypatch.setattr(download, "SILENCE", 3)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -nodes -newkey rsa -subj /CN=127.0.0.1"
    command = f"{command} -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serve(server.folder, tls) as safe:
        use(monkeypatch, f"{safe.address}/good")
        with pytest.raises(input_data.DownloadError, match="set SSL_CERT_FILE to its file"):
            read(tmp_path / "MNIST_data")
        monkeypatch.setenv(variable, str(certificate))
        assert read(tmp_path / "MNIST_data").train.name == "MNIST"


def test_source_url_may_offer_another_data_set(tmp_path, server):
    write(server.folder, small_set(seed=1))
    mnist = read(tmp_path / "MNIST_data", source_url=f"{server.address}/good")
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)
    assert "not MNIST's official" in mnist.test.name
    with pytest.raises(input_data.DownloadError, match="something other than MNIST's file"):
        read(tmp_path / "other", source_url=f"{server.address}/html")
    assert contents(tmp_path / "other") == {}


# ------------------------------------------------------------------------------ mirrors that do not

BAD = {
    "503": "answered 503 Service Unavailable",
    "wrong": "delivered something other than MNIST's file",
    "cut": "the connection failed (ChunkedEncodingError)",
    "close": "the connection failed (ConnectionError)",
    "silent": "was silent for 0.5 s",
    "halfway": "was silent for 0.5 s",
}


def test_next_mirror_is_tried(tmp_path, server, monkeypatch):
    use(monkeypatch, *(f"{server.address}/{behaviour}" for behaviour in [*BAD, "good"]))
    assert read(tmp_path / "MNIST_data").train.name == "MNIST"
    assert contents(tmp_path / "MNIST_data") == contents(server.folder)
    # A mirror that failed is not asked for the other files, and from the good one each comes once.
    failed = [(behaviour, FILES[0]) for behaviour in BAD]
    assert server.requests == [*failed, *(("good", file) for file in FILES)]


@pytest.mark.parametrize("others", [[], ["good"]])
def test_a_slow_mirror_is_left_while_another_is_left(tmp_path, server, monkeypatch, others):
    for file in FILES[1:]:
        shutil.copy(server.folder / file, tmp_path)
    use(monkeypatch, *(f"{server.address}/{behaviour}" for behaviour in ["slow", *others]))
    assert read(tmp_path).train.name == "MNIST"
    assert server.requests == [(behaviour, FILES[0]) for behaviour in ["slow", *others]]


def test_the_error_names_every_mirror_with_its_reason(tmp_path, server, monkeypatch):
    monkeypatch.setenv("https_proxy", server.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    host, folder = server.address[len("http://") :], tmp_path / "MNIST_data"
    use(
        monkeypatch,
        *(f"{server.address}/{behaviour}" for behaviour in BAD),
        "http://user:secret@127.0.0.1:1/",
        "https://mnist.invalid/good",
    )
    with pytest.raises(OSError) as caught:
        read(folder)
    assert str(caught.value).splitlines() == [
        "MNIST could not be downloaded:",
        *(f"  {host}: {why}" for why in BAD.values()),
        "  127.0.0.1:1: the connection failed (ConnectionError)",
        "  mnist.invalid: the connection failed (ProxyError)",
        f"To supply MNIST by hand, put {', '.join(FILES)} into {folder}.",
    ]
    assert contents(folder) == {}


@pytest.mark.parametrize("kind", ["file", "full"])
def test_folder_that_cannot_be_written_to(tmp_path, server, monkeypatch, kind):
    resource = pytest.importorskip("resource", reason="needs limits as Unix has them")
    use(monkeypatch, f"{server.address}/good", f"{server.address}/good")
    (tmp_path / "file").write_text("not a folder")
    folder, limits = tmp_path / kind, resource.getrlimit(resource.RLIMIT_FSIZE)
    if kind == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match="another folder$") as caught:
            read(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"MNIST cannot be downloaded into {folder} (")
    assert len(server.requests) <= 1 and not list(tmp_path.glob("full/*"))


# -------------------------------------------------------------------------------- other processes

SCRIPT = """if True:
    import json, socket, sys, threading, input_data
    folder, input_data.MIRRORS, input_data.OFFICIAL = json.loads(sys.argv[1])
    sys.modules["socks"] = None  # as if PySocks were not installed
    if "lookup.invalid" in input_data.MIRRORS[0]:  # a name server that is silent for ever
        socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
    print(input_data.read_data_sets(folder, validation_size=1).train.name)"""


def start(folder, address):
    setup = json.dumps([str(folder), [address], input_data.OFFICIAL])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, setup],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        preexec_fn=heed_signals,
    )


@pytest.mark.parametrize("stopped", [False, True])
def test_a_silent_name_server_does_not_keep_the_program_from_ending(tmp_path, stopped):
    process = start(tmp_path, "http://lookup.invalid/")
    assert process.stdout.readline().startswith("Downloading MNIST")
    if stopped:
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert ("KeyboardInterrupt" if stopped else "lookup.invalid: was silent for 3 s") in errors


def test_a_socks_proxy_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5h://127.0.0.1:1080")
    _, errors = start(tmp_path, "https://mnist.invalid/").communicate(timeout=20)
    assert "mnist.invalid: the connection failed; if your proxy is a SOCKS" in errors
    assert "run: pip install pysocks" in errors


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_stopped_in_the_middle(tmp_path, server, monkeypatch, how):
    folder = tmp_path / "MNIST_data"
    process = start(folder, f"{server.address}/halfway/")
    assert server.sent_half.wait(timeout=60)
    began = time.monotonic()
    process.send_signal(getattr(signal, how))
    process.communicate(timeout=60)
    assert time.monotonic() - began < 2  # less than it would wait for the mirror
    left = contents(folder)
    assert not set(left) & set(FILES) and (how == "SIGKILL" or not left)
    use(monkeypatch, f"{server.address}/good")
    assert read(folder).train.name == "MNIST"
