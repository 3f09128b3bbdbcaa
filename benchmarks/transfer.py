"""How fast `transfer` is, and how much memory it takes as the driver gets longer.

    python benchmarks/transfer.py --photo me.jpg --driver clip.mp4  # start-up, frames/s and stages
    python benchmarks/transfer.py --driver clip.mp4 --model paper-vaegan
    python benchmarks/transfer.py --driver clip.mp4 --loop 17       # the clip 17 times over: memory

Prints seconds from the start of the program to the first frame, frames/s from then on, milliseconds a frame of each
stage (of the thread that does it: reading and tracking run beside drawing and writing), of processor time a frame on
all cores, and the peak of the process's memory after the first 10 s of the driver and at the end. Run it on an
otherwise idle machine; on another, `--busy` counts a stage's processor time instead of the time that passes, without
what OpenCV and the encoder of the video do on threads of their own.
"""

import argparse
import importlib
import inspect
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def looped(source: Path, times: int, target: Path) -> Path:
    """The video stream of `source`, `times` over, packets copied as they are."""
    import av

    with av.open(str(target), "w") as out:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(str(source)) as clip:
                video = clip.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                ends = []
                for packet in clip.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    ends.append(packet.pts + packet.duration)
                    out.mux(packet)
                offset = max(ends)
    return target


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", default="sample")
    parser.add_argument("--driver", required=True, type=Path)
    parser.add_argument("--model", default="motion64")
    parser.add_argument("--renderer", choices=["warp", "decode"])
    parser.add_argument("--view", choices=["full", "crop"])
    parser.add_argument("--loop", type=int, default=1)
    parser.add_argument("--busy", action="store_true")
    args = parser.parse_args()
    driver = args.driver
    with tempfile.TemporaryDirectory() as folder:
        if args.loop > 1:
            driver = looped(driver, args.loop, Path(folder) / "loop.mp4")
        clock = time.thread_time if args.busy else time.perf_counter
        measure(args.photo, driver, args.model, Path(folder) / "out.mp4", args.renderer, args.view, clock)


STAGES = {
    "read": ("vaegan.media.reader", "VideoReader.__iter__"),
    "track": ("vaegan.faces.people", "People.track"),
    "encode": ("vaegan.model", "FaceModel.encode"),
    "decode": ("vaegan.model", "FaceModel.decode"),
    "field": ("vaegan.render.warp", "dense_field"),
    "refine": ("vaegan.render.refiner", "Refiner.forward"),
    "compose": ("vaegan.render.canvas", "Canvas.show"),
    "write": ("vaegan.media.writer", "VideoWriter.write"),
}


class Stages:
    """Seconds of a clock spent in each stage, once `watched`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.seconds = clock, dict.fromkeys(STAGES, 0.0)
        for stage, (module, name) in STAGES.items():
            owner = importlib.import_module(module)
            *path, name = name.split(".")
            for part in path:
                owner = getattr(owner, part)
            setattr(owner, name, self._timed(stage, getattr(owner, name)))

    def _timed(self, stage: str, function: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = self.clock()
            result = function(*args, **kwargs)
            self.seconds[stage] += self.clock() - began
            return self._each(stage, result) if inspect.isgenerator(result) else result

        return timed

    def _each(self, stage: str, items: Iterator) -> Iterator:
        while True:
            began = self.clock()
            item = next(items, None)
            self.seconds[stage] += self.clock() - began
            if item is None:
                return
            yield item


def measure(
    photo: str,
    driver: Path,
    model: str,
    output: Path,
    renderer: str | None,
    view: str | None,
    clock: Callable[[], float],
) -> None:
    born = time.perf_counter()  # before torch and all that is slow to import
    from vaegan.job import load
    from vaegan.media import VideoWriter
    from vaegan.pipeline import Transfer
    from vaegan.settings import TransferSettings

    stages = Stages(clock)
    run = Transfer(photo, driver, load(model, "cpu"), TransferSettings(renderer=renderer, view=view), keep_motion=False)
    early = first = worked = None
    with VideoWriter(output, run.width, run.height, run.rate, audio_from=driver) as writer:
        for frame in run.frames():
            first, worked = first or time.perf_counter(), worked or time.process_time()
            writer.write(frame.image)
            if early is None and frame.time >= 10:
                early = peak_mb()
    took, worked = time.perf_counter() - first, time.process_time() - worked
    end = peak_mb()
    print(f"start-up to the first frame: {first - born:.1f} s")
    rate = (writer.count - 1) / took
    print(f"steady state: {rate:.1f} frames/s over {writer.count} frames ({run.tracker.name} tracker)")
    print(f"processor time: {1000 * worked / (writer.count - 1):.1f} ms a frame")
    shown = ", ".join(f"{name} {1000 * spent / writer.count:.1f}" for name, spent in stages.seconds.items() if spent)
    print(f"{run.width}x{run.height} px; ms a frame: {shown}")
    if early:
        print(f"peak memory: {early:.0f} MB after 10 s, {end:.0f} MB after {frame.time:.0f} s ({end / early - 1:+.1%})")


if __name__ == "__main__":
    main()
