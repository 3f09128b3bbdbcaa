"""How fast `transfer` is, and how much memory it takes as the driver gets longer.

    python benchmarks/transfer.py --driver clip.mp4 --model paper-vaegan            # start-up and frames/s
    python benchmarks/transfer.py --driver clip.mp4 --model paper-vaegan --loop 17  # the clip 17 times over: memory

Prints seconds from the start of the program to the first frame, frames/s from then on, and the peak of the
process's memory after the first 10 s of the driver and at the end. Run it on an otherwise idle machine.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path


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
    parser.add_argument("--model", default="paper-vaegan")
    parser.add_argument("--loop", type=int, default=1)
    args = parser.parse_args()
    driver = args.driver
    with tempfile.TemporaryDirectory() as folder:
        if args.loop > 1:
            driver = looped(driver, args.loop, Path(folder) / "loop.mp4")
        measure(args.photo, driver, args.model, Path(folder) / "out.mp4")


def measure(photo: str, driver: Path, model: str, output: Path) -> None:
    born = time.perf_counter()  # before torch and all that is slow to import
    from vaegan.job import load
    from vaegan.media import VideoWriter
    from vaegan.pipeline import Transfer

    run = Transfer(photo, driver, load(model, "cpu"))
    early = first = None
    with VideoWriter(output, 256, 256, run.rate, audio_from=driver) as writer:
        for frame in run.frames():
            first = first or time.perf_counter()
            writer.write(frame.image)
            if early is None and frame.time >= 10:
                early = peak_mb()
    took = time.perf_counter() - first
    end = peak_mb()
    print(f"start-up to the first frame: {first - born:.1f} s")
    rate = (writer.count - 1) / took
    print(f"steady state: {rate:.1f} frames/s over {writer.count} frames ({run.tracker.name} tracker)")
    if early:
        print(f"peak memory: {early:.0f} MB after 10 s, {end:.0f} MB after {frame.time:.0f} s ({end / early - 1:+.1%})")


if __name__ == "__main__":
    main()
