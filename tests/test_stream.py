"""data=stream: shards over HTTP and from a folder, shuffled, resumed within an epoch, divided among processes."""

import csv
import io
import itertools
import multiprocessing
import os
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from vaegan.data import stream as stream_module
from vaegan.data.stream import StreamBatches, StreamData, read_shards
from vaegan.errors import UserError
from vaegan.training.callbacks import CheckpointsWithinEpochs

ROOT = Path(__file__).resolve().parents[1]
TRAIN, VAL, SHARD, SIZE = 90, 12, 16, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """90 pictures in six shards, each of one colour, by which it is known again; twelve more to validate on."""
    root = tmp_path_factory.mktemp("stream") / "set"
    root.mkdir()
    rows = []
    for split, count in (("train", TRAIN), ("val", VAL)):
        for first in range(0, count, SHARD):
            shard = f"set-{split}-{first // SHARD:04d}.tar"
            with tarfile.open(root / shard, "w") as tar:
                for i in range(first, min(first + SHARD, count)):
                    buffer = io.BytesIO()
                    Image.new("RGB", (SIZE, SIZE), (2 * i, 255 - 2 * i, 40)).save(buffer, "webp", lossless=True)
                    member = tarfile.TarInfo(f"{split}{i:06d}.webp")
                    member.size = buffer.tell()
                    tar.addfile(member, io.BytesIO(buffer.getvalue()))
                    rows.append([member.name[:-5], split, shard, 0.5 if i == 7 else 1])
    with open(root / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows([["key", "split", "shard", "cover"], *rows])
    return root


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; notes what was asked for, and refuses what it is told to, once."""

    asked: list[str]
    refuse: set[str]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path in self.refuse:
            self.refuse.remove(self.path)
            self.send_error(503)
            return
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(folder):
    """(URL, handler) of a local HTTP server of the data set."""
    Handler.asked, Handler.refuse = [], set()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder.parent))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/set", Handler
        http.shutdown()
        thread.join()


def opened(place: str, batch: int = 5, window: int = 2, flip: bool = False) -> StreamBatches:
    return StreamBatches(read_shards(place, "train"), SIZE, batch, flip=flip, seed=3, window=window, threads=2)


def numbers(batches) -> list[int]:
    """Which pictures these are, by their colour."""
    return [round(float(crop[0, 3, 3]) * 255 / 2) for batch in batches for crop in batch]


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own(folder, server):
    local, remote = opened(str(folder)), opened(server[0])
    assert len(local) == 18
    first = numbers(local)
    assert sorted(first) == list(range(TRAIN))
    assert numbers(remote) == first
    local.set_epoch(1)
    second = numbers(local)
    assert sorted(second) == list(range(TRAIN)) and second != first
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(second))
    assert neighbours < 15, "pictures that lie side by side are not shown one after the other"


def test_crops_of_low_cover_and_over_the_limit_are_left_out(folder):
    shards = read_shards(str(folder), "train", min_cover=0.9, limit=20)
    assert sum(len(shard.keys) for shard in shards) == 20
    crops = stream_module.read_crops(shards, 16)
    assert crops.shape == (20, 16, 16, 3)
    assert (crops[:, 0, 0, 0] // 2).tolist() == [i for i in range(21) if i != 7]


def _rank(url: str, rank: int, done: int, queue) -> None:
    batches = opened(url)
    batches.rank, batches.world = rank, 2
    batches.load_state_dict({"epoch": 1, "done": done, "world": 2})
    queue.put((rank, done, numbers(batches)))


def test_two_processes_share_an_epoch_without_repeats_and_go_on_within_it(server):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    jobs = [(rank, done) for rank in (0, 1) for done in (0, 6)]
    processes = [context.Process(target=_rank, args=(server[0], *job, queue)) for job in jobs]
    for process in processes:
        process.start()
    seen = {(rank, done): found for rank, done, found in (queue.get(timeout=300) for _ in jobs)}
    for process in processes:
        process.join()
    assert len(seen[0, 0]) == len(seen[1, 0]) == TRAIN // 2
    assert sorted(seen[0, 0] + seen[1, 0]) == list(range(TRAIN))
    for rank in (0, 1):
        assert seen[rank, 6] == seen[rank, 0][6 * 5 :]


def test_going_on_reads_only_the_shards_that_are_left(server):
    url, handler = server
    batches = opened(url, window=1)
    whole = numbers(batches)
    handler.asked.clear()
    again = opened(url, window=1)
    again.load_state_dict({"epoch": 0, "done": 12, "world": 1})
    assert numbers(again) == whole[60:]
    assert sum(path.endswith(".tar") for path in handler.asked) < 6


def test_flips_are_the_same_after_a_resume(folder):
    half = np.zeros((SIZE, SIZE, 3), np.uint8)
    half[:, SIZE // 2 :] = 255

    def left(batches) -> list[bool]:
        return [bool(crop[0, 0, 0] > 0.5) for batch in batches for crop in batch]

    made = opened(str(folder), flip=True)
    stream_module._decoded, kept = lambda *_: half, stream_module._decoded
    try:
        whole = left(made)
        assert 25 < sum(whole) < 65
        made.load_state_dict({"epoch": 0, "done": 9, "world": 1})
        assert left(made) == whole[45:]
    finally:
        stream_module._decoded = kept


class Seen(pl.LightningModule):
    """Trains one number, and remembers which pictures it was shown."""

    def __init__(self, stop: int = 0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.pictures: list[list[int]] = []
        self.stop = stop

    def on_train_epoch_start(self):
        self.trainer.datamodule.train.set_epoch(self.current_epoch)

    def training_step(self, batch, _):
        if self.stop and len(self.pictures) == self.stop:
            raise InterruptedError
        self.pictures.append(numbers([batch]))
        return (self.weight * batch.mean()).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(url: str, root: Path, module: Seen, checkpoint: Path | None = None) -> None:
    data = StreamData(
        name=url, size=SIZE, batch=8, min_cover=0, flip=False, limit=0, seed=0, window=2, threads=1
    )  # fmt: skip
    root.mkdir()
    saving = CheckpointsWithinEpochs(root, every=2)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, limit_val_batches=0, callbacks=[saving], use_distributed_sampler=False, **quiet
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint and str(checkpoint), weights_only=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("stop", "kept"), [(5, 4), (14, 13)], ids=["first epoch", "second epoch"])
def test_a_run_stopped_within_an_epoch_goes_on_with_the_next_picture(server, tmp_path, stop, kept):
    """An epoch has 11 batches; every second one is saved."""
    straight, broken, resumed = Seen(), Seen(stop), Seen()
    fit(server[0], tmp_path / "straight", straight)
    assert len(straight.pictures) == 22
    with pytest.raises(InterruptedError):
        fit(server[0], tmp_path / "broken", broken)
    fit(server[0], tmp_path / "resumed", resumed, tmp_path / "broken" / "last.ckpt")
    assert broken.pictures[:kept] + resumed.pictures == straight.pictures


def test_a_shard_that_does_not_come_is_asked_for_again(server, monkeypatch):
    url, handler = server
    monkeypatch.setattr(stream_module, "WAIT", 0)
    handler.refuse = {"/set/set-train-0002.tar"}
    assert len(numbers(opened(url))) == TRAIN
    assert handler.asked.count("/set/set-train-0002.tar") == 2
    monkeypatch.setattr(stream_module, "ATTEMPTS", 1)
    handler.refuse = {"/set/set-train-0002.tar"}
    with pytest.raises(UserError, match=r"set-train-0002\.tar.*503"):
        numbers(opened(url))


def test_broken_streams_are_one_clear_line(folder, server, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nothing/index\.csv"):
        read_shards(server[0] + "/nothing", "train")
    with pytest.raises(UserError, match="no 'test' pictures"):
        read_shards(str(folder), "test")
    with pytest.raises(UserError, match="no data set 'gone'"):
        stream_module.find_stream("gone")
    shards = read_shards(str(folder), "train")
    data = Path(shards[0].place).read_bytes()
    (tmp_path / "short.tar").write_bytes(data[:5000])
    with pytest.raises(UserError, match=r"short\.tar"):
        stream_module.read_crops([stream_module.Shard(str(tmp_path / "short.tar"), shards[0].keys)], 16)
    with pytest.raises(UserError, match=r"lacks 16 pictures that index\.csv names"):
        stream_module.read_crops([stream_module.Shard(shards[0].place, shards[1].keys)], 16)


def test_train_py_trains_on_a_url(server, tmp_path):
    small = [
        "data.size=32", "data.batch=8", "data.min_cover=0", "model.pca_start=false", "model.networks.latent=8",
        "model.networks.hidden=24", "model.networks.encoder_widths=[12,12,16,16,16,16,16]",
        "model.networks.encoder_strides=[4,1,2,1,1,1,1]", "model.networks.decoder_widths=[16,16,16,16,12,12,12]",
        "callbacks.lpips=null", "callbacks.preview=null", "trainer.threads=1", "trainer.epochs=2",
    ]  # fmt: skip
    given = ["model=vae", "data=stream", f"data.name={server[0]}", f"hydra.run.dir={tmp_path / 'run'}", *small]
    command = [sys.executable, "-W", "ignore", str(ROOT / "train.py"), *given]
    environment = {**os.environ, "VAEGAN_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 2/2" in done.stdout and "psnr" in done.stdout
