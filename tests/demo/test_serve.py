"""`risctl demo` as a program: its address, its end, and what stops it before it begins."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from helpers.command_line import Run, risctl

__all__ = ["risctl"]

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
from risctl.demo.serve import checked_token, open_socket
from risctl.errors import MachineError, UsageError


def test_it_answers_until_it_is_told_to_end(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'risctl[export]'")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'risctl[onnx]'")
    from helpers.exported_folder import write_exported

    # An exported model: the server need not wait until torch is imported.
    model = write_exported(tmp_path / "bright.onnx")
    process = subprocess.Popen(
        [sys.executable, "-m", "risctl", "demo", "--port", "0", "--share-on", "127.0.0.1", "--model", str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RISCTL_DEMO_TOKEN": "a-token-of-24-characters"},
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        address, _, rest = process.stdout.readline().partition("#")
        assert address.startswith("http://127.0.0.1:") and rest == "token=a-token-of-24-characters\n"
        asked = urllib.request.Request(
            f"{address}v1/models", headers={"Authorization": "Bearer a-token-of-24-characters"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            models = json.load(answer)["models"]
        assert [(one["name"], bool(one["explains"]), one["video"]) for one in models] == [("bright.onnx", False, False)]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (143, "")
    assert err.splitlines()[-1] == "error: terminated" and "Traceback" not in err


def test_a_port_in_use_is_one_line(risctl: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = risctl("demo", "--port", port)
    assert (code, out) == (5, "")
    assert err.count("\n") == 1 and f"port {port} of 127.0.0.1" in err and "--port 0" in err


def test_what_cannot_be_shared_is_one_line(risctl: Run) -> None:
    code, _, err = risctl("demo", "--share-on", "0.0.0.0", "--token", "short")
    assert code == 2 and "16 characters" in err
    code, _, err = risctl("demo", "--token", "a-token-of-24-characters")
    assert code == 2 and "--share-on" in err
    code, _, err = risctl("demo", "--share-on", "nowhere.example")
    assert code == 2 and "0.0.0.0" in err
    code, _, err = risctl("demo", "--port", "0", "--model", Path("absent"))
    assert code == 6 and "absent" in err


def test_answers_are_sent_without_a_wait() -> None:
    async def run() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            told.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        opened = open_socket("127.0.0.1", 0)
        async with await asyncio.start_server(answer, sock=opened):
            _, writer = await asyncio.open_connection(*opened.getsockname())
            found = await told
            writer.close()
            return found

    assert asyncio.run(run()) != 0


def test_a_new_token_is_long_and_another_each_time() -> None:
    assert len({checked_token(None) for _ in range(5)}) == 5
    assert all(len(checked_token(None)) >= 24 for _ in range(5))
    with pytest.raises(UsageError, match="without spaces"):
        checked_token("two words of some length")
    with pytest.raises(MachineError, match="cannot be opened"):
        open_socket("192.0.2.1", 0)
