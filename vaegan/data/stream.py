"""Training pictures straight out of shards, for sets too large for a local cache: a folder, http(s)://, s3://, ...

The shards are WebDataset tars, and index.csv says what is in them. So the order of an epoch is known before anything is
read, and a run that goes on in the middle of an epoch reads only what it has not seen:

* the shards are shuffled and laid end to end; each rank takes one stretch of the same length, so that no picture comes
  twice and no rank waits for another (the two shards at the ends of a stretch are read by two ranks);
* `window` shards at a time are held in memory, as they were encoded, and shuffled together.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor

from vaegan.data.batches import Batches, CropBatches
from vaegan.data.cache import resized
from vaegan.data.format import INDEX, index_lines, read_shard
from vaegan.data.module import FaceData
from vaegan.data.storage import data_folder, fetched, is_url, joined
from vaegan.errors import UserError
from vaegan.media import decode_image
from vaegan.tensors import to_float

ATTEMPTS, WAIT = 4, 1.0
"""How often a shard is asked for, and after how many seconds again (then twice and four times as many)."""

SAMPLE = 4096
"""Crops that stand for the training set where all of it would be too many (`StreamBatches.crops`)."""

VALIDATED = 10_000
"""Pictures of the validation split that are held in memory."""


@dataclass(frozen=True)
class Shard:
    """A tar of a data set: its place, and the keys of the pictures that are wanted of it, bytes (N,)."""

    place: str
    keys: np.ndarray


@dataclass(kw_only=True, eq=False)
class StreamData(FaceData):
    """Single pictures out of shards that are read as they are needed: float (N, 3, S, S) in [0, 1].

    The validation pictures, at most `VALIDATED`, are read at once and stay in memory.
    """

    name: str = field()  # no default: Lightning's class has a `name` of its own, None
    """A folder, a data set below $VAEGAN_DATA, or a URL: https://, s3://, gs://, ..."""
    window: int
    """Shards that are in memory and shuffled together; while they are used, the next ones are fetched."""
    threads: int
    """That decode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1 or self.threads < 1:
            raise UserError("data.window and data.threads are 1 or more")

    def read(self) -> None:
        place = find_stream(self.name)
        self.source = self.name.rstrip("/").rpartition("/")[2]
        train = read_shards(place, "train", self.min_cover, self.limit)
        val = read_shards(place, "val", self.min_cover, self.limit or VALIDATED)
        self.train = StreamBatches(
            train, self.size, self.batch, flip=self.flip, seed=self.seed, window=self.window, threads=self.threads
        )
        if self.train.pictures < self.batch:
            raise UserError(
                f"{place} has {self.train.pictures} training pictures, fewer than one batch of {self.batch}"
            )
        self.val = CropBatches(read_crops(val, self.size), self.batch, shuffle=False, flip=False)


def find_stream(name: str) -> str:
    """The place of a data set: a URL as it is, a folder, or a name below $VAEGAN_DATA. Raises UserError if none."""
    return name.rstrip("/") if is_url(name) else str(data_folder(name))


def read_shards(place: str, split: str, min_cover: float = 0.0, limit: int = 0) -> list[Shard]:
    """The shards of one split, in the order of index.csv, without their pictures.

    Args:
        min_cover: leave out crops that reach further outside their source picture, 0..1. limit: at most this many
            (0 = all).

    Raises:
        UserError: there is no index, or it names no such pictures.
    """
    keys: dict[str, list[bytes]] = {}
    for line in islice(index_lines(place, split, min_cover), limit or None):
        keys.setdefault(line["shard"], []).append(line["key"].encode())
    if not keys:
        raise UserError(f"no '{split}' pictures in {joined(place, INDEX)}")
    return [Shard(str(joined(place, name)), np.array(found)) for name, found in keys.items()]


def read_encoded(shard: Shard, chosen: np.ndarray) -> list[bytes]:
    """The files of some pictures of a shard, in the order of `chosen` (positions in `shard.keys`).

    A shard that does not come is asked for again: over days, every network fails once.

    Raises:
        UserError: it still does not come, is broken, or lacks pictures.
    """
    for attempt in range(ATTEMPTS):
        try:
            with fetched(shard.place) as path:
                return _members(shard, chosen, path)
        except UserError as error:
            if attempt == ATTEMPTS - 1 or isinstance(error.__cause__, FileNotFoundError) or not is_url(shard.place):
                raise
            time.sleep(WAIT * 2**attempt)
    raise AssertionError("unreachable")


def _members(shard: Shard, chosen: np.ndarray, path: Path) -> list[bytes]:
    place = {key.decode(): i for i, key in enumerate(shard.keys[chosen].tolist())}
    found = {place[key]: data for key, _, data in read_shard(path, place)}
    if len(found) < len(chosen):
        lacking = min(key for key, i in place.items() if i not in found)
        raise UserError(f"{shard.place} lacks {len(chosen) - len(found)} pictures that {INDEX} names, first {lacking}")
    return [found[i] for i in range(len(chosen))]


def read_crops(shards: list[Shard], size: int, limit: int = 0) -> np.ndarray:
    """The pictures of some shards in their order, uint8 (N, size, size, 3); with `limit` at most that many."""
    crops: list[np.ndarray] = []
    for shard in shards:
        count = len(shard.keys) if not limit else min(len(shard.keys), limit - len(crops))
        crops += [_decoded(data, size) for data in read_encoded(shard, np.arange(count))]
        if limit and len(crops) >= limit:
            break
    return np.stack(crops)


def _decoded(data: bytes, size: int) -> np.ndarray:
    return resized(decode_image(data), size)


class StreamBatches(Batches):
    """Shuffled batches out of shards, float (N, 3, S, S) in [0, 1]; the order depends on seed and epoch only.

    `state_dict` and `load_state_dict` are what Lightning writes into checkpoints: a run that was stopped within an
    epoch goes on with the batch after the last one it has trained on.

    Args:
        shards: of the training split. size: side of the crops, px. flip: mirror every second crop at random.
        window, threads: see `StreamData`. `crops` are the first SAMPLE pictures.
    """

    def __init__(self, shards: list[Shard], size: int, batch: int, *, flip: bool, seed: int, window: int, threads: int):
        self.shards, self.px, self.batch = shards, size, batch
        self.flip, self.seed, self.window, self.threads = flip, seed, window, threads
        self.done = 0
        self._crops: np.ndarray | None = None

    @property
    def pictures(self) -> int:
        return sum(len(shard.keys) for shard in self.shards)

    @property
    def content(self) -> list[np.ndarray]:
        """The keys: the pictures are not at hand yet."""
        return [shard.keys for shard in self.shards]

    @property
    def crops(self) -> np.ndarray:
        if self._crops is None:
            self._crops = read_crops(self.shards, self.px, SAMPLE)
        return self._crops

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "done": self.done, "world": self.world}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state["world"] == self.world:
            self.epoch, self.done = state["epoch"], state["done"]
        elif state["done"]:
            told = f"{state['world']} processes began this epoch, now there are {self.world}: it begins anew"
            print(told, file=sys.stderr)

    def __len__(self) -> int:
        return self.pictures // self.world // self.batch

    def __iter__(self) -> Iterator[Tensor]:
        self.done = self.done % max(1, len(self))
        with ThreadPoolExecutor(1) as fetching, ThreadPoolExecutor(self.threads) as decoding:
            ahead: deque[Future] = deque()
            try:
                for number, encoded in self._encoded(fetching, self.done):
                    ahead.append(decoding.submit(self._batch, number, encoded, self.epoch))
                    if len(ahead) > self.threads:
                        yield self._next(ahead)
                while ahead:
                    yield self._next(ahead)
            finally:
                for future in ahead:
                    future.cancel()

    def _next(self, ahead: deque[Future]) -> Tensor:
        crops = ahead.popleft().result()
        self.done += 1
        return crops

    def _batch(self, number: int, encoded: list[bytes], epoch: int) -> Tensor:
        crops = np.stack([_decoded(data, self.px) for data in encoded])
        if self.flip:
            turned = np.random.default_rng((self.seed, epoch, self.rank, number)).random(len(crops)) < 0.5
            crops[turned] = crops[turned, :, ::-1]
        return to_float(crops)

    def _encoded(self, pool: ThreadPoolExecutor, first: int) -> Iterator[tuple[int, list[bytes]]]:
        """(number, files) of the batches of this epoch from the given one on; windows are fetched one ahead."""
        windows = self._windows()
        if first >= len(self):
            return
        sizes = np.cumsum([0, *(sum(len(chosen) for _, chosen in window) for window in windows)])
        at = first * self.batch
        start = int(np.searchsorted(sizes, at, "right")) - 1
        waiting = pool.submit(self._fetch, windows[start], start)
        left: list[bytes] = []
        number, skip = first, at - int(sizes[start])
        for w in range(start, len(windows)):
            left += waiting.result()[skip:]
            skip = 0
            if w + 1 < len(windows):
                waiting = pool.submit(self._fetch, windows[w + 1], w + 1)
            for i in range(0, len(left) - self.batch + 1, self.batch):
                yield number, left[i : i + self.batch]
                number += 1
            left = left[len(left) // self.batch * self.batch :]

    def _windows(self) -> list[list[tuple[Shard, np.ndarray]]]:
        """What this rank reads this epoch: shards and positions in them, some shards at a time."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.shards))
        share = self.pictures // self.world
        begin, end, at = self.rank * share, (self.rank + 1) * share, 0
        pieces = []
        for shard in (self.shards[i] for i in order):
            low, high = max(begin - at, 0), min(end - at, len(shard.keys))
            if low < high:
                pieces.append((shard, np.arange(low, high)))
            at += len(shard.keys)
        return [pieces[i : i + self.window] for i in range(0, len(pieces), self.window)]

    def _fetch(self, window: list[tuple[Shard, np.ndarray]], number: int) -> list[bytes]:
        encoded = [data for shard, chosen in window for data in read_encoded(shard, chosen)]
        order = np.random.default_rng((self.seed, self.epoch, self.rank, number)).permutation(len(encoded))
        return [encoded[i] for i in order]
