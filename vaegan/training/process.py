"""One process of a run of several: what `processes.py` starts, `python -m vaegan.training.process JOB`."""

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from omegaconf import OmegaConf

from vaegan.errors import told
from vaegan.training.command import quiet
from vaegan.training.processes import LOST

SIGNS = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "store")
"""Words in what torch says when another process is gone."""


def main(job: Path) -> None:
    """Run `fit`; what goes wrong is left beside `job` for who has started this, who tells of it once."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from vaegan.training.resumed import find_checkpoint
    from vaegan.training.run import fit

    quiet()
    rank, plan = os.environ["LOCAL_RANK"], OmegaConf.load(job)
    checkpoint = find_checkpoint(plan.cfg.resume) if plan.cfg.resume else None
    try:
        value = fit(plan.cfg, Path(plan.folder), checkpoint, plan.command)
    except Exception as error:
        line = told(error)
        if line is None and isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS):
            line = LOST
        if line is None:
            traceback.print_exc()
            line = f"process {rank} failed, see above"
        job.with_name(f"error-{rank}").write_text(line, encoding="utf-8")
        sys.stderr.flush()
        os._exit(1)  # an ordinary exit would wait for the others
    if value is not None and rank == "0":
        job.with_name("value").write_text(str(value), encoding="utf-8")


def _end_with_parent() -> None:
    """End at once when who has started this process is gone: its end of our stdin closes then."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
