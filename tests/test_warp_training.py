"""Training of the refiner: a few steps on a few frames, with every critic; what is drawn, and what comes out."""

import numpy as np
import pytest
import torch
from host_calls import host_calls
from hydra import compose, initialize_config_dir
from tiny_runs import CONF

from vaegan.data import pack_frames
from vaegan.data.pack import Pack
from vaegan.faces.geometry import CropTransform, framing, mesh_box, mirrored_mesh
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.model import FaceModel, Framing
from vaegan.networks import VAE, Heads
from vaegan.render.refiner import Refiner
from vaegan.render.refiner_folder import load_refiner, save_refiner
from vaegan.samples import find_photo
from vaegan.training.warp import RefinerTraining
from vaegan.training.warp_frames import WarpFrames, compressed, stranger

NETWORKS = {
    "size": 64,
    "latent": 8,
    "hidden": 16,
    "encoder_widths": [12, 12, 16, 16, 16, 16, 16],
    "encoder_strides": [4, 2, 1, 1, 1, 1, 1],
    "decoder_widths": [16, 16, 16, 16, 12, 12, 12],
    "decoder_strides": [1, 1, 1, 1, 1, 2, 4],
}


@pytest.fixture(scope="module")
def pack():
    """Two clips of four frames: the sample photo, seen through windows that wander."""
    image = read_image(find_photo("sample"))
    face = FaceTracker("own").detect(image)[0]
    x, y, side = mesh_box(face.mesh)
    rows = {name: [] for name in ("crops", "mesh", "frames", "frame_mesh", "placement")}
    generator = np.random.default_rng(0)
    for _ in range(8):
        dx, dy = generator.uniform(-0.1, 0.1, 2) * side
        window = CropTransform(x + dx, y + dy, 2 * side * generator.uniform(0.9, 1.1))
        mesh = window.to_crop(face.mesh.astype(np.float64), 256)
        picture = window.crop(image, 256)
        crop = framing(mesh, 1.25, True)
        rows["crops"].append(crop.crop(picture, 64))
        rows["mesh"].append(crop.to_crop(mesh, 1.0).astype(np.float16))
        rows["frames"].append(picture)
        rows["frame_mesh"].append((mesh / 256).astype(np.float16))
        rows["placement"].append(np.array([crop.cx / 256, crop.cy / 256, crop.side / 256, crop.roll], np.float32))
    return Pack(
        inside=np.ones((8, 64, 64), bool),
        blendshapes=generator.integers(0, 255, (8, 52), dtype=np.uint8),
        clip=np.repeat([0, 1], 4).astype(np.int32),
        time=np.arange(8, dtype=np.float32),
        **{name: np.stack(arrays) for name, arrays in rows.items()},
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    model = FaceModel(VAE(**NETWORKS), Framing(1.25, True), "tiny", {}, Heads(8))
    return model.save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def train(monkeypatch, pack, model, models_dir, tmp_path):
    """Returns a function that trains with these overrides into a folder."""
    from vaegan.training import run

    monkeypatch.setattr(pack_frames, "read_pack", lambda *args, **kwargs: pack)

    def train(folder, *overrides):
        settings = [
            "model=warp", "data=frames", "data.folder=there", "data.steps=2", f"model.motion_model={model}",
            "model.refiner.widths=[4,4,4,4]", "model.discriminators.pictures=[4,4]",
            "model.discriminators.squares=[4,4]", "model.pairs=2", "model.strangers=1", "model.critics=1",
            "model.log_every=1", "model.ema_every=1", "model.gan.start=-1", "trainer.epochs=2", "callbacks.lpips=null",
            "callbacks.preview=null",
        ]  # fmt: skip
        with initialize_config_dir(CONF, version_base="1.3"):
            cfg = compose("config", overrides=[*settings, *overrides])
        run.train(cfg, tmp_path / folder)
        return tmp_path / folder

    return train


def test_a_step_asks_nothing_of_the_host_once_it_has_run(train, monkeypatch):
    calls = host_calls(monkeypatch, RefinerTraining)
    train("run")
    assert calls[1:] == [{}] * 3


def test_a_run_leaves_a_refiner_that_loads_and_grids_of_what_it_makes(train):
    folder = train("run")
    refiner, training = load_refiner(folder / "model")
    assert refiner.config == {"widths": [4, 4, 4, 4]}
    assert training["images_seen"] == 12
    assert training["motion_model"].startswith("tiny-")
    assert all(np.isfinite(value) for value in training["validation"].values())
    grid = read_image(folder / "grids" / "epoch-0002.png")
    assert grid.shape == (8 * 256, 256, 3)
    assert (folder / "model" / "README.md").read_text().startswith("# warp")


def test_a_run_goes_on_after_a_stop_and_another_starts_from_it(train, tmp_path):
    folder = train("run", "trainer.epochs=1")
    assert load_refiner(train("run", f"resume={folder}") / "model")[1]["images_seen"] == 12
    assert load_refiner(train("second", f"start_from={folder / 'model'}") / "model")[1]["images_seen"] == 24


def test_a_refiner_folder_gives_back_what_was_saved(tmp_path):
    torch.manual_seed(0)
    refiner = Refiner([4, 4, 4, 4])
    loaded, training = load_refiner(save_refiner(refiner, {"images_seen": 3}, tmp_path / "r", "# r\n"))
    x = torch.rand(1, 24, 16, 16)
    assert (loaded(x) - refiner(x)).abs().max() < 1e-2
    assert training == {"images_seen": 3}


class Looker:
    """Stands in for model and embedder: what they say is the mean of what they see."""

    def encode(self, crops):
        return crops.mean((2, 3))

    def __call__(self, pictures, mesh):
        return pictures.mean((2, 3))


def test_a_mirrored_look_mirrors_all_that_is_known(pack):
    frames = WarpFrames(pack, Looker(), Looker(), 0.5, torch.device("cpu"), False)
    rows = torch.tensor([1, 1])
    look = frames.look(rows, torch.tensor([False, True]))
    assert torch.equal(look.picture[1], look.picture[0].flip(-1))
    assert torch.allclose(look.mesh[1], torch.from_numpy(mirrored_mesh(look.mesh[0].numpy())), atol=1e-3)
    x, y, side, roll = look.placement[0].tolist()
    assert look.placement[1].tolist() == pytest.approx([1 - x, y, side, -roll])


def test_pairs_are_frames_of_one_clip(pack):
    frames = WarpFrames(pack, Looker(), Looker(), 0.5, torch.device("cpu"), False)
    torch.manual_seed(0)
    photo, wanted = frames.draw(64)
    clip = {
        tuple(z.tolist()): number for z, number in zip(frames.z.flatten(0, 1), np.repeat(pack.clip, 2), strict=True)
    }
    assert [clip[tuple(z.tolist())] for z in photo.z] == [clip[tuple(z.tolist())] for z in wanted.z]


def test_a_stranger_moves_by_what_the_others_moved(pack):
    frames = WarpFrames(pack, Looker(), Looker(), 0.5, torch.device("cpu"), False)
    still = torch.zeros(1, dtype=torch.bool)
    photo, source, target = (frames.look(torch.tensor([row]), still) for row in (0, 1, 2))
    goal = stranger(photo, source, target)
    assert torch.allclose(goal.z, photo.z + target.z - source.z)
    shift = (goal.placement - photo.placement)[0, :2] / photo.placement[0, 2]
    asked = (target.placement - source.placement)[0, :2] / source.placement[0, 2]
    assert torch.allclose(shift, asked, atol=1e-6)
    assert torch.allclose(stranger(source, source, target).placement, target.placement, atol=1e-6)


def test_compression_keeps_the_picture_and_loses_the_fine(pack):
    picture = torch.from_numpy(pack.frames[:1]).permute(0, 3, 1, 2).float() / 255
    fine, coarse = (compressed(picture, torch.tensor([step])) for step in (1e-5, 0.06))
    assert (fine - picture).abs().max() < 1e-3
    assert 0.001 < (coarse - picture).abs().mean() < 0.05
