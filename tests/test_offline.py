"""The tests' own law: nothing leaves this machine, in this process or in one that it starts."""

import socket
import subprocess
import sys
import threading

import pytest

BEYOND = "192.0.2.1"  # reserved for documentation: no machine has it


def reach(kind: str) -> None:
    if kind == "lookup":
        socket.getaddrinfo("example.org", 80)
    elif kind == "old lookup":
        socket.gethostbyname("example.org")
    elif kind == "datagram":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"", (BEYOND, 53))
    elif kind == "connect_ex":
        with socket.socket() as own:
            own.connect_ex((BEYOND, 80))
    else:
        socket.create_connection((BEYOND, 80), timeout=1)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        (b"127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        (None, True),
        ("", True),
        ("0.0.0.0", True),
        ("127.example.org", False),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
    ],
)
def test_what_is_here(host, here):
    from medim_tests_offline import is_here

    assert is_here(host) is here


@pytest.mark.parametrize("kind", ["connect", "connect_ex", "lookup", "old lookup", "datagram"])
def test_the_network_is_refused(kind, no_network):
    with pytest.raises(ConnectionRefusedError, match="tests run without a network"):
        reach(kind)
    assert len(no_network) == 1
    no_network.clear()


def test_loopback_is_not():
    with socket.create_server(("localhost", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"here"), daemon=True).start()
        with socket.create_connection(server.getsockname(), timeout=5) as own:
            assert own.recv(4) == b"here"
    first, second = socket.socketpair()
    with first, second:
        first.sendall(b"x")
        assert second.recv(1) == b"x"


def test_a_process_that_a_test_starts_is_bound_too():
    code = "import os, socket\nprint(os.environ['HF_HUB_OFFLINE'])\nsocket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    assert "tests run without a network: looking up '192.0.2.1' is refused" in done.stderr


def test_the_hub_is_offline():
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE
