"""A run in several processes of this machine: started, watched, and ended together, whichever of them dies."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig, OmegaConf

import vaegan
from vaegan.errors import UserError
from vaegan.training import record as run_record
from vaegan.training.run_folder import CHECKPOINT, how_to_go_on, shown

GRACE = 5.0
"""Seconds that the others have, to end by themselves, once one process has ended in an error."""

PATIENCE = 20.0
"""Seconds that all have, to end by themselves, after Ctrl-C."""

LOST = "lost"
"""What a process says whose only trouble is that another one is gone."""


def run_processes(cfg: DictConfig, folder: Path, command: str, count: int) -> float | None:
    """`run.fit` in `count` processes (vaegan.training.process); returns the value of the first.

    Raises:
        UserError: one of them ended in an error, or died.
    """
    asked: list[int] = []
    with tempfile.TemporaryDirectory(prefix="vaegan-") as room:
        job = Path(room, "job.yaml")
        OmegaConf.save(
            {"cfg": OmegaConf.to_container(cfg, resolve=True), "folder": str(folder), "command": command}, job
        )
        children = [_start(job, rank, count, port) for port in [_free_port()] for rank in range(count)]
        before = {number: _forwarded(number, children, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            ended = _watched(children, asked)
        finally:
            for child in children:
                child.kill()
                child.wait()
                child.stdin.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        said = {rank: _read(Path(room, f"error-{rank}")) for rank in range(count)}
        value = _read(Path(room, "value"))
    if asked or ended:
        _correct_record(folder, "stopped" if asked else "failed")
    if asked:
        print(how_to_go_on(folder), file=sys.stderr)
        sys.exit(128 + asked[0])
    if ended:
        reasons = [text for text in said.values() if text and text != LOST]
        rank = next((rank for rank in ended if said[rank] != LOST), min(ended))
        raise UserError(reasons[0] if reasons else _died(rank, ended[rank], folder))
    return float(value) if value else None


def _start(job: Path, rank: int, count: int, port: int) -> subprocess.Popen:
    places = [str(Path(vaegan.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "MASTER_ADDR": "127.0.0.1"}
    environment |= {"MASTER_PORT": str(port), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    command = [sys.executable, "-m", "vaegan.training.process", str(job)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)


def _forwarded(number: int, children: list[subprocess.Popen], asked: list[int]) -> signal.Handlers | None:
    """From now on a signal is passed on to the processes, once; returns what handled it before."""

    def forward(received: int, frame: FrameType | None) -> None:
        if not asked:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(received)
        asked.append(received)

    if threading.current_thread() is not threading.main_thread():
        return signal.getsignal(number)
    return signal.signal(number, forward)


def _watched(children: list[subprocess.Popen], asked: list[int]) -> dict[int, int]:
    """Wait until all have ended, or those that are left have had their time; the status of each that ended ill."""
    since = None
    while any(child.poll() is None for child in children):
        if since is None and (asked or any(child.returncode for child in children)):
            since = time.monotonic()
        if since is not None and time.monotonic() - since > (PATIENCE if asked else GRACE):
            break
        time.sleep(0.1)
    return {rank: child.returncode for rank, child in enumerate(children) if child.returncode}


def _died(rank: int, status: int, folder: Path) -> str:
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    go_on = f"; go on with resume={shown(folder)}" if (folder / CHECKPOINT).exists() else ""
    return f"process {rank} of this run has ended ({how}), and the others with it{go_on}"


def _correct_record(folder: Path, status: str) -> None:
    """Processes that were killed could not write how their run ended."""
    record = run_record.read(folder)
    if record.get("status") == "running":
        run_record.write(folder, record | {"status": status})


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
