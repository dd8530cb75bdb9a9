"""Weights & Biases is an accessory: whatever its server does, training goes on and keeps the record."""

from __future__ import annotations

import gc
import json
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wandb
import wandb_log
from helpers import fit

from yolo_synth.callbacks.wandb_run import finish_run, wandb_run


@contextmanager
def server(way):
    """Stand in for W&B's server on this machine, which answers every call in one way."""
    listening = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve():
        while True:
            try:
                call, _ = listening.accept()
            except OSError:
                return
            held.append(call)
            if way == "reset":
                call.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif way != "hang":
                if call.recv(65536).startswith(b"POST") and way == "200 OK":
                    continue  # it lives, and hangs when a run is to begin
                call.sendall(f"HTTP/1.1 {way}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            if way != "hang":
                call.close()

    if way == "refused":
        listening.close()
    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1] if way != 'refused' else 9}"
    listening.close()
    for call in held:
        call.close()


@pytest.fixture
def logged_in(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    wandb.teardown()  # its settings are read once a process
    yield monkeypatch
    wandb.teardown()


@pytest.mark.parametrize(
    "way", ["500 Server Error", "hang", "reset", "refused", "401 Unauthorized", "200 OK"]
)
def test_a_server_that_does_not_serve_costs_seconds_and_no_record(way, tmp_path, logged_in, caplog):
    with server(way) as address:
        logged_in.setenv("WANDB_BASE_URL", address)
        start = time.monotonic()
        run = wandb_run(tmp_path, "U-Real", 0, goes_on=False)
        waited = time.monotonic() - start
        run.log({"loss": 1.5})
        run.finish()
    assert waited < 15
    assert wandb_log.read(tmp_path)[0][0]["loss"] == 1.5
    [line] = [r.getMessage() for r in caplog.records if r.name == "yolo_synth.callbacks.wandb_run"]
    assert f"wandb sync {tmp_path}/wandb/offline-run-*" in line
    assert address in line
    assert "\n" not in line


class Answers(BaseHTTPRequestHandler):
    """As much of W&B's server as beginning a run takes, until it is lost."""

    protocol_version = "HTTP/1.1"
    lost = ""

    def log_message(self, *_):
        """Print nothing."""

    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.lost == "hang":
            time.sleep(1000)
        name = (json.loads(asked).get("variables") or {}).get("name") if b"query" in asked else ""
        bucket = {"id": "x", "name": name, "displayName": "x", "config": "{}"}
        project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}}
        viewer = {
            "id": "v",
            "entity": "me",
            "username": "me",
            "flags": "{}",
            "teams": {"edges": []},
        }
        data = {"serverInfo": {"cliVersionInfo": {}, "features": []}}
        if b"upsertBucket" in asked:
            data = {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}
        elif b"viewer" in asked:
            data |= {"viewer": viewer}
        body = json.dumps({"data": data}).encode()
        self.send_response(500 if self.lost == "500" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("way", ["500", "hang", "refused"])
def test_a_server_that_is_lost_meanwhile_costs_nothing_and_a_line_says_how_to_sync(
    way, tmp_path, logged_in, caplog
):
    class Server(Answers):
        pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    logged_in.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{served.server_address[1]}")
    logged_in.setattr("yolo_synth.callbacks.wandb_run._FINISHING", 2.0)
    run = wandb_run(tmp_path, "U-Real", 0, goes_on=False)
    assert not run.offline
    run.log({"loss": 2.5})
    Server.lost = way
    if way == "refused":
        served.shutdown()
        served.server_close()
    start = time.monotonic()
    for step in range(20):
        run.log({"loss": step})
    assert time.monotonic() - start < 15
    finish_run(run)
    assert time.monotonic() - start < 60
    [line] = [r.getMessage() for r in caplog.records if r.name == "yolo_synth.callbacks.wandb_run"]
    [kept] = tmp_path.glob("wandb/run-*")
    assert f"was lost (http://127.0.0.1:{served.server_address[1]}: " in line
    assert f"wandb sync {kept} sends it later" in line
    assert "\n" not in line
    assert list(kept.glob("run-*.wandb"))
    if way != "refused":
        served.shutdown()
        served.server_close()
    with suppress(OSError):  # where its process is gone, W&B drops it without asking how it ended
        wandb.teardown()
    for process in [x for x in gc.get_objects() if type(x) is subprocess.Popen]:
        process.wait(20)


def test_a_run_that_goes_on_is_the_same_wandb_run_and_a_new_one_is_another(tmp_path):
    ids = []
    for goes_on in (False, True, True, False):
        run = wandb_run(tmp_path, "U-Real", 0, goes_on)
        ids.append(run.id)
        run.finish()
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_an_agents_run_id_goes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    run = wandb_run(tmp_path, "U-Real", 0, goes_on=True)
    run.finish()
    assert run.id == "agents"


def test_with_wandb_disabled_none_is_begun(tiny_root, tmp_path, monkeypatch):
    def begins(*_):
        raise AssertionError

    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("yolo_synth.callbacks.wandb_run.wandb_run", begins)
    fit(tiny_root, tmp_path, "BDD100K", "--pictures.images=1")
    assert (tmp_path / "U-Real/0/metrics.csv").is_file()
    assert list((tmp_path / "U-Real/0/pictures").iterdir())
    assert not (tmp_path / "U-Real/0/wandb").exists()
