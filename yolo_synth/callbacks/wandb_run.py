"""The Weights & Biases run of a training: an accessory, so that its absence never ends the work."""

from __future__ import annotations

import http.client
import logging
import os
import re
import secrets
import ssl
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Final

import wandb

from yolo_synth.files import write_whole

log = logging.getLogger(__name__)

_RUN_ID: Final = "wandb/run_id"
"""The file in a run folder that says which W&B run it is."""

_PATIENCE: Final = 3.0
"""Seconds that the server may take to answer at all; a training waits for nothing longer."""

_STARTING: Final = 6.0
"""Seconds that it may take to begin a run."""

_FINISHING: Final = 120.0
"""Seconds that the last of the record may take on its way, before it is left to `wandb sync`."""


def wandb_run(folder: Path, model: str, seed: int, goes_on: bool) -> wandb.Run:
    """Begin a W&B run, or go on with it, named and grouped as the run folder is.

    It is offline unless somebody is logged in or `WANDB_MODE` says otherwise. Where the server does not
    answer, refuses, or breaks off, it is offline too, and a line says how to send it later.

    Args:
        folder: The run folder, which keeps the run's id.
        model: Name of the model.
        seed: Seed of the training.
        goes_on: Whether the training goes on, and the W&B run with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run_id = _run_id(folder, goes_on)
    mode = os.environ.get("WANDB_MODE")
    if mode is None and not _logged_in():
        return _begin_offline(folder, model, seed, run_id)
    if mode in (None, "online"):
        server = wandb.setup().settings.base_url
        reason = _why_away(server)
        if reason is None:
            try:
                return _begin(folder, model, seed, run_id)
            except wandb.Error as error:
                wandb.teardown()  # else the run of this id counts as in use
                reason = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning(
            "Weights & Biases does not take the record (%s: %s); training goes on and keeps it: "
            "wandb sync %s/wandb/offline-run-* sends it later",
            *(server, reason.replace("<no message>", "it refuses; is the key right?"), folder),
        )
        return _begin_offline(folder, model, seed, run_id)
    if mode == "offline":
        return _begin_offline(folder, model, seed, run_id, silent=False)
    return _begin(folder, model, seed, run_id)


def _begin_offline(
    folder: Path, model: str, seed: int, run_id: str, silent: bool = True
) -> wandb.Run:
    """Begin offline; where W&B's own process is gone, or holds the run of a training that died, anew."""
    try:
        return _begin(folder, model, seed, run_id, offline=True, silent=silent)
    except Exception:  # W&B's errors of its own process have no common class
        wandb.teardown()
        os.environ.pop("WANDB_SERVICE", None)
        return _begin(folder, model, seed, run_id, offline=True, silent=silent)


def _begin(
    folder: Path, model: str, seed: int, run_id: str, offline: bool = False, silent: bool = False
) -> wandb.Run:
    run = wandb.init(
        id=run_id,
        resume="allow",
        name=f"{model}/{seed}",
        group=model,
        project=os.environ.get("WANDB_PROJECT", "yolo-synth"),
        dir=folder,
        mode="offline" if offline else None,
        settings=wandb.Settings(silent=silent, init_timeout=_STARTING, finish_timeout=_FINISHING),
    )
    for handler in logging.getLogger("wandb").handlers:  # of its own log, in the run folder
        handler.handleError = _leave_it  # type: ignore[assignment,method-assign]
    return run


def _leave_it(_: logging.LogRecord) -> None:
    """Say nothing of a line that a full disk did not take: what trains says so once, not W&B 100 times."""


def finish_run(run: wandb.Run) -> None:
    """End a W&B run; where the server was lost meanwhile, a line says how to send the record later."""
    server, kept = run.settings.base_url, Path(run.dir).parent
    reason = None if run.offline or run.disabled else _why_away(server)
    if reason is not None:
        _say_lost(server, reason, kept)
    try:
        run.finish()
    except Exception as error:  # W&B's, of its own process that is gone, have no common class
        if reason is None:
            _say_lost(server, str(error) or type(error).__name__, kept)
        with suppress(Exception):
            wandb.teardown()


def _say_lost(server: str, reason: str, kept: Path) -> None:
    log.warning(
        "Weights & Biases was lost (%s: %s); the record is kept: wandb sync %s sends it later",
        *(server, " ".join(reason.split()), kept),
    )


def _run_id(folder: Path, goes_on: bool) -> str:
    """Return the id of the training's W&B run; an agent's or the user's own goes first."""
    place = folder / _RUN_ID
    run_id = os.environ.get("WANDB_RUN_ID")
    if run_id is None and goes_on:
        try:
            kept = place.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            kept = ""
        run_id = kept if re.fullmatch(r"[\w-]{1,64}", kept) else None
    run_id = run_id or secrets.token_hex(4)
    write_whole(place, f"{run_id}\n")
    return run_id


def _logged_in() -> bool:
    """Whether there is a W&B key; asks neither the user nor, to believe it, the server."""
    return bool(wandb.login(prompt=False, verify=False))


def _why_away(server: str) -> str | None:
    """Return why a server does not serve; None if it answers a question, whatever it says.

    It is asked as W&B's own client asks, which would try for minutes.
    """
    try:
        question = urllib.request.Request(
            f"{server.rstrip('/')}/graphql",
            data=b'{"query": "query { __typename }"}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(question, timeout=_PATIENCE):
            return None
    except urllib.error.HTTPError as error:
        return f"status {error.code}" if error.code >= 500 else None
    except urllib.error.URLError as error:
        return None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    except ValueError:  # an address that W&B may understand
        return None
