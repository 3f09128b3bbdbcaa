"""Runs commands one after another, each in a fork of one warm process: a line of JSON in, a line of JSON out.

An accident can be made to happen on the way. A command may take `LIMIT` seconds and is told of, not waited for, beyond
them. Run as a program of its own, because what is forked must not have threads.
"""

import errno
import importlib
import io
import itertools
import json
import os
import signal
import sys
import time

LIMIT = 60


def commands():
    import torch

    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(1)
    import av  # noqa: F401

    import vaegan.evaluation
    from vaegan.cli.check_data import app as _  # noqa: F401
    from vaegan.cli.main import main as vaegan
    from vaegan.cli.transfer import main as transfer
    from vaegan.data.check import check_data  # noqa: F401
    from vaegan.faces.tracker import FaceTracker  # noqa: F401
    from vaegan.job import transfer as _job  # noqa: F401

    return {"transfer": transfer, "vaegan": vaegan}


def befall(accident: str, place: str, call: int, victim: str) -> None:
    """Let `accident` happen at the `call`-th call of `place`, "module:Class.method".

    accident: "kill" (-9), "interrupt" (Ctrl-C), "full" (a disk) or "vanish" (the file `victim`).
    """
    module, _, name = place.partition(":")
    owner, method = getattr(importlib.import_module(module), name.split(".")[0]), name.split(".")[1]
    original, calls = getattr(owner, method), itertools.count(1)

    def struck(*args, **kwargs):
        if next(calls) == call:
            if accident == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif accident == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            elif accident == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            else:
                os.unlink(victim)
        return original(*args, **kwargs)

    setattr(owner, method, struck)


def run(main, words: list[str], said: str) -> None:
    """The child: it ends as the command does."""
    os.setsid()
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), write_through=True) for n in (1, 2))
    sys.argv = words
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve() -> None:
    mains = commands()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.chdir(asked["folder"])
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if asked["accident"]:
                befall(*asked["accident"])
            run(mains[asked["words"][0]], asked["words"], asked["said"])
        hung = False
        while True:
            pid, status, used = os.wait4(child, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - began > LIMIT:
                hung = True
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.01)
        told = {"status": os.waitstatus_to_exitcode(status), "hung": hung, "peak_mb": used.ru_maxrss / 1024}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    serve()
