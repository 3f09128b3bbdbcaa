"""The driver's side of the pipeline: video -> faces -> crops -> latents, in small batches, nothing kept."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform, framing, head_pose, mesh_box, mesh_roll
from vaegan.media import VideoReader

if TYPE_CHECKING:
    from vaegan.faces.tracker import Face, FaceTracker
    from vaegan.model import FaceModel

BATCH = 16  # frames encoded and decoded at once; more gains under 5 % on a CPU and delays the first frame
READ_AHEAD = 4  # decoded frames that wait for the tracker; a 4K frame takes 25 MB
T = TypeVar("T")


@dataclass(frozen=True)
class DriverFrame:
    """One driver frame after the encoder. Without a face, all but `time` and `found` repeat the last frame with one.

    latent: float32 (D,), None before the first face; box: mesh box cx, cy, side in px and roll in radians
    pose: yaw, pitch, roll in degrees; crop: the region that the model saw
    picture: that region as uint8 (size, size, 3), only when asked for
    """

    time: float
    found: bool
    latent: np.ndarray | None = None
    box: np.ndarray | None = None
    pose: np.ndarray | None = None
    crop: CropTransform | None = None
    picture: np.ndarray | None = field(default=None, repr=False)


class Recording:
    """What is kept of every driver frame, about 900 bytes of numbers, end to end in one block of memory.

    A long list of small arrays would do, but lies between the large pictures that come and go, so that the memory of
    the process grows by five times what the arrays hold.
    """

    def __init__(self, latent_dim: int) -> None:
        fields = [("time", "f8"), ("found", "?"), ("box", "f8", 4), ("pose", "f4", 3), ("crop", "f8", 4)]
        self._type = np.dtype([*fields, ("latent", "f4", latent_dim)])
        self._bytes = bytearray()

    def add(self, frames: list[DriverFrame]) -> None:
        rows = np.zeros(len(frames), self._type)
        for row, f in zip(rows, frames, strict=True):
            row["time"], row["found"] = f.time, f.found
            if f.crop is not None:
                row["box"], row["pose"], row["latent"] = f.box, f.pose, f.latent
                row["crop"] = f.crop.cx, f.crop.cy, f.crop.side, f.crop.roll
        self._bytes += rows.tobytes()

    def rows(self) -> np.ndarray:
        """(T,) records with the fields of DriverFrame; before the first face all numbers but the time are zero.

        They lie in the recording's own memory: nothing can be added as long as they are in use.
        """
        return np.frombuffer(self._bytes, self._type)


def encode_driver(
    path: str | Path,
    model: FaceModel,
    tracker: FaceTracker | None = None,
    start: float = 0.0,
    end: float | None = None,
    fps: Fraction | None = None,
    picture_size: int = 0,
) -> Iterator[list[DriverFrame]]:
    """Read, track, crop and encode a driver, a batch of frames at a time, at a steady `fps` (None: its own).

    Frames are read in a thread of their own and dropped as soon as they are cropped. With a fixed framing the crop
    is that of the first frame with a face; it is tracked on all the same, to know where the face is lost.
    picture_size: side in px of DriverFrame.picture; 0 for none
    Raises UserError when no frame shows a face.
    """
    if tracker is None:
        from vaegan.faces.tracker import FaceTracker

        tracker = FaceTracker()
    tracker.reset()
    eye = _Eye(model, picture_size)
    frames = 0
    with (
        VideoReader(path, start=start, end=end, fps=fps or VideoReader(path).rate) as reader,
        closing(prefetch(reader, READ_AHEAD)) as ahead,
    ):
        batch = []
        for frame in ahead:
            frames += 1
            batch.append(eye.look(frame.time, frame.image, tracker.track(frame.image)))
            if len(batch) == BATCH:
                yield eye.encode(batch)
                batch = []
        if batch:
            yield eye.encode(batch)
    if eye.crop is None:
        raise UserError(f"{path}: no face found in its {frames} frames; use a driver that shows one face, well lit")


class _Eye:
    """What is remembered from frame to frame: the crop in use, and the last face and latent seen."""

    def __init__(self, model: FaceModel, picture_size: int) -> None:
        self.model, self.picture_size = model, picture_size
        self.crop: CropTransform | None = None
        self.box = self.pose = self.latent = None

    def look(self, time: float, image: np.ndarray, face: Face | None) -> tuple[DriverFrame, np.ndarray | None]:
        """The frame without its latent yet, and the crop to encode (uint8 (S, S, 3)), None without a face."""
        if face is not None:
            roll = mesh_roll(face.mesh)
            self.box = np.array([*mesh_box(face.mesh, roll), roll])
            self.pose = np.asarray(head_pose(face.mesh), np.float32)
            if self.crop is None or self.model.framing.follow:
                self.crop = framing(face.mesh, self.model.framing.scale, self.model.framing.follow)
        picture = crop_picture(image, self.crop, self.picture_size) if self.picture_size else None
        frame = DriverFrame(time, face is not None, None, self.box, self.pose, self.crop, picture)
        return frame, self.crop.crop(image, self.model.size) if face is not None else None

    def encode(self, batch: list[tuple[DriverFrame, np.ndarray | None]]) -> list[DriverFrame]:
        """Give every frame of the batch its latent, or the last one where no face was found."""
        crops = [crop for _, crop in batch if crop is not None]
        latents = iter(encode_crops(self.model, np.stack(crops)) if crops else ())
        done = []
        for frame, crop in batch:
            self.latent = self.latent if crop is None else next(latents)
            done.append(replace(frame, latent=self.latent))
        return done


def encode_crops(model: FaceModel, crops: np.ndarray) -> np.ndarray:
    """Posterior means float32 (N, D) of crops uint8 (N, S, S, 3)."""
    with torch.inference_mode():
        x = torch.from_numpy(crops).to(model.device).permute(0, 3, 1, 2).float().div_(255)
        return model.encode(x).float().cpu().numpy()


def crop_picture(image: np.ndarray, crop: CropTransform | None, size: int) -> np.ndarray:
    """The region `crop` of an image as uint8 (size, size, 3); without one, the largest square in its middle."""
    if crop is None:
        height, width = image.shape[:2]
        crop = CropTransform(width / 2, height / 2, min(width, height), 0.0)
    return crop.crop(image, size)


def prefetch(items: Iterable[T], depth: int) -> Iterator[T]:
    """Run an iterator in a thread of its own, at most `depth` items ahead; its exceptions are raised here.

    Closing this generator stops the thread, and closes `items` if that is a generator, before it returns.
    """
    queue: Queue = Queue(depth)
    stop = Event()

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                queue.put((item, None))
                if stop.is_set():
                    break
            else:
                queue.put((None, StopIteration()))
        except BaseException as error:
            queue.put((None, error))
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    thread = Thread(target=work, daemon=True, name=f"prefetch {type(items).__name__}")
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            try:
                queue.get(timeout=0.02)
            except Empty:
                continue
        thread.join()
