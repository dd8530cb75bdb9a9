"""A real `wandb agent` runs the sweep file; a stub on this machine stands in for W&B's server."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import wandb_log
import yaml

from yolo_synth.runs import read_run, run_folders


def sweep_file(scenes: Path) -> dict:
    """Return the shipped sweep with the tiny scenes as data, one seed and one short epoch."""
    sweep = yaml.safe_load((Path(__file__).parent.parent / "experiments/sweep.yaml").read_text())
    sweep["parameters"]["seed_everything"] = {"values": [0]}
    sweep["parameters"]["data"] = {"values": ["gtav.yaml"]}
    assert sweep["command"].pop(2) == "--config=experiments/u_real.yaml"
    sweep["command"].insert(2, "--config=short.yaml")
    return sweep


SHORT = {
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    "model": {"width": 0.0625},
    "similarity": {"images": 0},
    "pictures": {"images": 0},
}


class Server(ThreadingHTTPServer):
    """Answers the questions that an agent asks, and hands out one run after another."""

    def __init__(self, sweep: dict) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        grid = {name: values["values"] for name, values in sweep["parameters"].items()}
        self.points = [
            {name: {"value": value} for name, value in zip(grid, point, strict=True)}
            for point in itertools.product(*grid.values())
        ]
        self.sweep = {"id": "U3dlZXA=", "name": "grid", "config": yaml.dump(sweep)}
        self.sweep |= {"state": "RUNNING", "method": "grid", "runs": {"edges": []}}
        self.given = 0
        self.operations: set[str] = set()

    def answer(self, query: str, variables: dict) -> dict:
        operation = next(
            (name for name in ("SweepWithRuns", "CreateAgent", "Heartbeat") if name in query),
            "other",
        )
        self.operations.add(operation)
        if operation == "SweepWithRuns":
            return {"project": {"sweep": self.sweep}}
        if operation == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        if operation == "Heartbeat":
            agent = {"agent": {"id": "agent"}, "commands": json.dumps(self.commands(variables))}
            return {"agentHeartbeat": agent}
        viewer = {"id": "me", "entity": "us", "username": "me", "teams": {"edges": []}}
        return {"viewer": viewer | {"flags": "{}", "apiKeys": {"edges": []}}, "serverInfo": {}}

    def commands(self, variables: dict) -> list[dict]:
        if any(json.loads(variables["runState"]).values()):  # one is still running
            return []
        if self.given == len(self.points):
            return [{"type": "exit"}]
        self.given += 1
        args = self.points[self.given - 1]
        return [{"type": "run", "run_id": f"run{self.given}", "program": None, "args": args}]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.answer(body["query"], body.get("variables") or {})
        text = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(tiny_root):
    server = Server(sweep_file(tiny_root))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_agent_trains_the_runs_of_the_sweep(server, tiny_root, tmp_path):
    data = {"root": str(tiny_root / "gtav"), "splits": str(tiny_root / "splits/gtav")}
    data |= {"image_size": 64, "num_workers": 0}
    (tmp_path / "gtav.yaml").write_text(
        yaml.dump({"class_path": "yolo_synth.GTAV", "init_args": data})
    )
    (tmp_path / "short.yaml").write_text(yaml.dump(SHORT))
    scripts = Path(sys.executable).parent
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("WANDB_")},
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_MODE": "offline",  # the runs' own uploads, which the stub does not take
        "WANDB_ERROR_REPORTING": "false",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [str(scripts / "wandb"), "agent", "us/yolo-synth/grid"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"SweepWithRuns", "CreateAgent", "Heartbeat"} <= server.operations
    assert (tmp_path / "runs").is_dir(), done.stdout + done.stderr
    runs = [read_run(folder) for folder in run_folders(tmp_path / "runs")]
    assert [run.name for run in runs] == ["F-Synthetic/0", "U-Synthetic/0"], done.stderr
    assert all(run.finished for run in runs)
    logged = [wandb_log.read(run.folder)[2] for run in runs]
    assert sorted(run.run_id for run in logged) == ["run1", "run2"]
    assert {run.sweep_id for run in logged} == {"grid"}
    assert sorted(run.run_group for run in logged) == ["F-Synthetic", "U-Synthetic"]
