"""Reading data sets: shards, folders, the cache and the batches made of it."""

import csv
import io
import multiprocessing
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaegan.data.batches import CropBatches
from vaegan.data.cache import cached_crops
from vaegan.data.format import read_index, read_pictures
from vaegan.data.storage import find_data_set
from vaegan.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))


def webp(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), (value, 255 - value, 10)).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


@pytest.fixture
def shards(tmp_path) -> Path:
    """A data set of two shards: 8 train, 4 val pictures; the fourth reaches outside its source."""
    folder = tmp_path / "set"
    folder.mkdir()
    rows = []
    for shard, keys in (("set-0.tar", range(6)), ("set-1.tar", range(6, 12))):
        with tarfile.open(folder / shard, "w") as tar:
            for i in reversed(keys):
                data = webp(20 * i)
                member = tarfile.TarInfo(f"k{i:02}.webp")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        split = {i: "train" if i < 8 else "val" for i in keys}
        rows += [{"key": f"k{i:02}", "split": split[i], "shard": shard, "cover": 0.5 if i == 3 else 1} for i in keys]
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["key", "split", "shard", "cover"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_cache_keeps_the_order_of_the_index_and_leaves_out_uncovered_crops(shards):
    entries = read_index(shards, "train", min_cover=0.95)
    assert [e.key for e in entries] == ["k00", "k01", "k02", "k04", "k05", "k06", "k07"]
    crops = cached_crops(shards, entries, 16)
    assert crops.shape == (7, 16, 16, 3)
    assert np.abs(crops[:, 8, 8, 0].astype(int) - [0, 20, 40, 80, 100, 120, 140]).max() <= 1


def test_changed_shards_are_decoded_again(shards):
    entries = read_index(shards, "val")
    before = cached_crops(shards, entries, 16).copy()
    with tarfile.open(shards / "set-1.tar", "w") as tar:
        for i in range(6, 12):
            data = webp(255 - 20 * i)
            member = tarfile.TarInfo(f"k{i:02}.webp")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        tar.addfile(tarfile.TarInfo("extra.txt"))
    assert not np.array_equal(cached_crops(shards, entries, 16), before)


def test_a_damaged_cache_is_built_again(shards, tmp_path):
    entries = read_index(shards, "train")
    whole = cached_crops(shards, entries, 16).copy()
    (file,) = (tmp_path / "cache").glob("*.npy")
    file.write_bytes(file.read_bytes()[:500])
    assert np.array_equal(cached_crops(shards, entries, 16), whole)


def _build(folder: str, queue) -> None:
    entries = read_index(Path(folder), "train")
    queue.put(int(cached_crops(Path(folder), entries, 16).astype(np.int64).sum()))


def test_two_processes_build_one_cache(shards, tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_build, args=(str(shards), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    sums = [queue.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert sums[0] == sums[1]
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_broken_sets_are_one_clear_line(shards, tmp_path):
    entries = read_index(shards, "train")
    data = (shards / "set-0.tar").read_bytes()
    (shards / "set-0.tar").write_bytes(data[: len(data) // 2 - 300])
    with pytest.raises(UserError, match=r"set-0\.tar"):
        list(read_pictures(shards, entries))
    (shards / "set-0.tar").unlink()
    with pytest.raises(UserError, match="is missing"):
        cached_crops(shards, entries, 16)
    (shards / "index.csv").write_text("colour\nred\n")
    with pytest.raises(UserError, match="not a data set index"):
        read_index(shards, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no 'train' pictures"):
        read_index(tmp_path / "empty", "train")


def test_a_picture_that_does_not_decode_is_named(shards):
    with tarfile.open(shards / "set-0.tar", "w") as tar:
        member = tarfile.TarInfo("k00.webp")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    with pytest.raises(UserError, match=r"k00\.webp"):
        list(read_pictures(shards, read_index(shards, "train")))


def test_a_plain_folder_is_split_by_name(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for i in range(60):
        Image.new("RGB", (30, 20)).save(folder / f"{i}.png")
    train, val = read_index(folder, "train"), read_index(folder, "val")
    assert len(train) + len(val) == 60 and val
    assert cached_crops(folder, val, 16).shape == (len(val), 16, 16, 3)


def test_epochs_differ_and_are_repeatable():
    crops = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1).repeat(3, 3)
    batches = CropBatches(crops, 8, shuffle=True, flip=False, seed=3)

    def epoch(number: int) -> torch.Tensor:
        batches.set_epoch(number)
        return torch.cat(list(batches))[:, 0, 0, 0]

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))
    assert len(set(epoch(1).tolist())) == 40, "every picture once"


def test_the_order_of_the_plain_configuration_never_changes():
    """Runs that were begun by an older version are resumed with the pictures that come next."""
    crops = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, 3).repeat(2, 2)
    crops[:, :, 1] += 100
    batches = CropBatches(crops, 5, shuffle=True, flip=True, seed=0)
    batches.set_epoch(1)
    assert (torch.stack(list(batches))[:, :, 0, 0, 0] * 255).round().int().tolist() == [
        [101, 3, 7, 8, 109],
        [0, 2, 104, 105, 106],
    ]


def test_a_limit_keeps_the_same_pictures_every_epoch():
    crops = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1).repeat(3, 3)
    batches = CropBatches(crops, 4, shuffle=True, flip=False, seed=3, limit=12)
    epochs = []
    for number in range(3):
        batches.set_epoch(number)
        epochs.append(torch.cat(list(batches))[:, 0, 0, 0].tolist())
    assert len(set(epochs[0])) == 12 and epochs[0] != epochs[1]
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])


def test_ranks_share_an_epoch_without_repeats():
    crops = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1).repeat(3, 3)
    seen = []
    for rank in range(2):
        batches = CropBatches(crops, 4, shuffle=True, flip=True, seed=3)
        batches.rank, batches.world = rank, 2
        assert len(batches) == 5
        seen += torch.cat(list(batches))[:, 0, 0, 0].tolist()
    assert len(set(seen)) == 40


def test_flips_mirror_about_half_of_the_crops():
    crops = np.zeros((400, 4, 4, 3), np.uint8)
    crops[:, :, 0] = 255
    batch = torch.cat(list(CropBatches(crops, 100, shuffle=True, flip=True)))
    left = (batch[:, 0, 0, 0] == 1).float().mean()
    assert 0.4 < left < 0.6
    assert torch.equal(batch[:, 0, 0, 0] + batch[:, 0, 0, 3], torch.ones(400))


def test_data_sets_are_found_by_name_or_path(tmp_path, monkeypatch):
    (tmp_path / "root/mine").mkdir(parents=True)
    monkeypatch.setenv("VAEGAN_DATA", str(tmp_path / "root"))
    assert find_data_set("mine") == tmp_path / "root/mine"
    assert find_data_set(str(tmp_path / "root")) == tmp_path / "root"
    assert find_data_set("other") is None
