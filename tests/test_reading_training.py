"""Every data configuration as a training meets it: typed, mixed with clips, whole clips from Python."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from tiny_runs import CONF, blobs, train_tiny

from vaegan.config import instantiate
from vaegan.data.module import FaceData
from vaegan.errors import UserError

OF_ONE_MODEL = ("tracker", "motion", "frames")
DATA = sorted(path.stem for path in (Path(CONF) / "data").glob("*.yaml") if path.stem not in OF_ONE_MODEL)


def made(data: str, *overrides: str) -> FaceData:
    with initialize_config_dir(CONF, version_base="1.3"):
        return instantiate(compose("config", overrides=[f"data={data}", *overrides]).data)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def moving(tmp_path) -> Path:
    """A prepared set of four clips of twelve frames at 25/s, three to train, in which a bright square moves."""
    folder = tmp_path / "moving"
    folder.mkdir()
    rows = []
    with tarfile.open(folder / "set.tar", "w") as tar:
        for clip, frame in ((c, f) for c in range(4) for f in range(12)):
            picture = np.full((40, 40, 3), 40 + 20 * clip, np.uint8)
            picture[10:20, 2 * frame : 2 * frame + 10] = 230
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "WEBP", lossless=True)
            key = f"{clip}-{frame:02}"
            member = tarfile.TarInfo(f"{key}.webp")
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
            split = "val" if clip == 3 else "train"
            rows.append({"key": key, "shard": "set.tar", "split": split, "person": f"p{clip}", "source": "moving",
                         "cover": 1, "video": f"{clip}.mp4#000", "timestamp": frame / 25, "yaw": clip})  # fmt: skip
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.parametrize("data", DATA)
def test_every_data_configuration_builds_its_class_and_changes_nothing_by_default(data):
    built = made(data, "data.name=x")
    assert (built.size, built.batch, built.flip, built.train) == (64, 128, True, None)
    if data != "stream":
        assert built.balance == "none"
        assert built.changes is None, "the paper models are only mirrored"
    if data in ("clips", "pairs", "videos"):
        assert (built.fps, built.scale, built.follow, built.flow) == (25, 1.6, False, "none")
        assert not built.whole, "the paper models take single pictures"


def test_a_vae_trains_on_stills_mixed_with_frames_of_clips(moving, tmp_path):
    pictures = blobs(tmp_path / "stills")
    options = ("data=mixed", f"data.clips.name={moving}", "data.augment.shift=0.1", "data.balance=none")
    folder = train_tiny(tmp_path / "run", pictures, *options)
    assert "stills+moving" in (folder / "model/config.yaml").read_text()
    mixed = made("mixed", f"data.name={pictures}", f"data.clips.name={moving}", "data.size=32", "data.batch=20",
                 "data.clip_share=0.5")  # fmt: skip
    mixed.setup()
    plain = torch.cat([batch[:, :, 24:].std((1, 2, 3)) < 0.01 for batch in mixed.train])
    assert len(mixed.train) == len(mixed.train.crops) // 20
    assert len(mixed.val.crops) + len(mixed.train.crops) == 120, "validation is that of the stills alone"
    assert 0.4 < plain.float().mean() < 0.6


def test_a_vae_takes_clips_frame_by_frame(moving, tmp_path):
    folder = train_tiny(tmp_path / "run", moving, "data=clips", "data.balance=person")
    assert "data: moving" in (folder / "model/config.yaml").read_text()


def test_a_model_that_takes_clips_gets_them_whole_from_the_same_configuration(moving):
    common = (f"data.name={moving}", "data.size=32", "data.batch=2", "+model.clips=true")
    clips = made("clips", *common, "data.frames=6", "data.flow=dis")
    clips.setup()
    (batch,) = list(clips.train)[:1]
    assert batch.shape == (2, 6, 5, 32, 32) and len(clips.train) == 3
    assert batch[:, :, :3].min() >= 0 and batch[:, :, :3].max() <= 1
    pairs = made("pairs", *common, "data.augment.noise=0.1", "data.balance=pose")
    pairs.setup()
    assert next(iter(pairs.train)).shape == (2, 2, 3, 32, 32)
    assert torch.equal(next(iter(pairs.val)), next(iter(pairs.val))), "validation is the same every time"


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ("imdb_wiki", (), r"make it with `vaegan prepare imdb_crop wiki_crop --output .*imdb_wiki`"),
        ("celeba", (), r"make it with `vaegan prepare celeba --output .*celeba`"),
        ("videos", (), r"make it with `vaegan prepare path/to/videos --output .*videos`"),
        ("mixed", ("data.clip_share=2",), "clip_share=2 is no share"),
        ("clips", ("data.flow=fast",), r"data\.flow=fast: choose one of none, dis, farneback"),
        ("clips", ("data.frames=0",), r"data\.frames=0: use 1 or more"),
        ("pairs", ("data.shortest=2",), "use 0 <= shortest <= longest"),
        ("folder", ("data.name=faces",), "no data set 'faces'"),
        ("stream", ("data.name=x", "+data.balance=source"), "StreamData.*unexpected keyword argument 'balance'"),
        ("synthetic", ("data.balance=expression",), "needs a data set with labels, and data=synthetic has none"),
        ("faces", ("data.augment.hue=3",), r"data\.augment\.hue=3 is out of range"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, data, options, says):
    monkeypatch.setenv("VAEGAN_DATA", str(tmp_path))
    with pytest.raises(UserError, match=says):
        made(data, *options).setup()
