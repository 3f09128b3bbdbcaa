"""The tracker's own training: networks and targets by known answers, and a whole tiny run on drawn faces."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from drawn_faces import drawn_group, symmetric_points
from hydra import compose, initialize_config_dir
from logger_files import read_wandb
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_runs import offline

import vaegan.tracker_training.data as training_data
from vaegan.config import CONF
from vaegan.errors import UserError
from vaegan.faces import networks
from vaegan.faces.backend import Face
from vaegan.faces.geometry import CropTransform, mesh_box, mesh_roll
from vaegan.faces.networks import FaceDetector, FaceLandmarker, fold_batch_norms, with_fused_activations
from vaegan.faces.own import OwnBackend
from vaegan.tracker_training.groups import HELD_OUT
from vaegan.tracker_training.presence import fit_presence_head
from vaegan.tracker_training.samples import fit_mesh_model, upright
from vaegan.training.run import train

LANDMARKER = {
    "size": 32,
    "widths": [8, 12, 16],
    "blocks": [0, 1, 0],
    "features": 24,
    "components": 6,
    "roi_scale": 1.35,
    "patch": 16,
    "patch_widths": [4, 6, 8, 8],
    "patch_features": 8,
}


class Blind:
    """A teacher that sees no face anywhere."""

    roi_scale = 1.5

    def landmarks(self, image, roi):
        return Face(np.zeros((478, 3), np.float32), np.zeros(52, np.float32), 0.0)


DETECTOR = {"widths": [4, 6, 8, 8, 8], "blocks": [0, 0, 1, 0, 0], "head": 8}


@pytest.fixture
def drawn(monkeypatch):
    """The training's data sets, replaced by drawn faces."""
    groups = {
        name: drawn_group(name, 48, 160 if name == "photos" else 96, seed)
        for seed, name in enumerate(("faces", "faces-tight", "clips-train", "clips-dev", "photos"))
    }
    groups["clips-dev"].split[:] = HELD_OUT
    monkeypatch.setattr(training_data, "load_groups", lambda data, cache, names, every: {n: groups[n] for n in names})
    return groups


def settings(tmp_path, *overrides: str):
    """A configuration of conf/ in which everything is tiny."""
    given = ["model=tracker", "trainer.threads=1", "trainer.log_every=1", f"data.folder={tmp_path}", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=given)
    OmegaConf.set_struct(cfg, False)
    cfg.model.landmarker, cfg.model.detector = LANDMARKER, DETECTOR
    cfg.model.detection.size = 96
    cfg.model.landmarker_training.update({"samples": 16 * 12, "batch": 16, "warm_up": 2})
    cfg.model.detector_training.update({"samples": 8 * 6, "batch": 8, "warm_up": 2})
    cfg.data.landmarker.update({"check_every": 6, "check_stills": 6})
    cfg.data.detector.update({"check_every": 3, "check_pictures": 6, "face_px": [16, 80]})
    return cfg


def rows(run) -> np.ndarray:
    return np.genfromtxt(run / "metrics.csv", delimiter=",", names=True)


def test_a_run_learns_and_its_folder_is_a_tracker_with_a_card(drawn, tmp_path, capsys, monkeypatch):
    cfg = settings(tmp_path)
    cfg.model.landmarker_training.samples, cfg.data.landmarker.check_every = 16 * 60, 15
    train(cfg, tmp_path / "run", "python train.py model=tracker")
    log = rows(tmp_path / "run")
    assert log["step"][~np.isnan(log["valfaceserror"])].tolist() == [15, 30, 45, 60]
    assert log["step"][~np.isnan(log["valrecall"])].tolist() == [63, 66]
    loss = log["trainloss"][~np.isnan(log["trainloss"])][:60]
    assert loss[-15:].mean() < 0.85 * loss[:15].mean()
    assert "step 66/66" in capsys.readouterr().out
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert (record["status"], record["images_seen"], record["data"]["name"]) == ("finished", 60 * 16 + 48, "tracker")
    backend = OwnBackend(tmp_path / "run/model")
    seen = backend.landmarks(drawn["faces"].images[0], CropTransform(48, 48, 70))
    assert seen.mesh.shape == (478, 3) and seen.blendshapes.shape == (52,) and 0 <= seen.score <= 1
    card = (tmp_path / "run/model/README.md").read_text()
    for words in ("research only", "FairFace", "python train.py model=tracker", "960 samples", "| 60 |", "recall"):
        assert words in card
    assert str(tmp_path) not in card

    before = load_file(tmp_path / "run/model/weights.safetensors")
    cfg.model.part, cfg.data.presence.samples, cfg.start_from = "presence", 64, str(tmp_path / "run/model")
    monkeypatch.setattr(training_data, "FaceTracker", lambda name: SimpleNamespace(backend=Blind()))
    train(cfg, tmp_path / "fitted")
    after = load_file(tmp_path / "fitted/model/weights.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and changed == {"landmarker.presence.weight", "landmarker.presence.bias"}
    card = (tmp_path / "fitted/model/README.md").read_text()
    assert "## Presence" in card and "960 samples" in card and "recall" in card


def test_presence_learns_from_what_was_taken_for_a_face_and_keeps_the_faces(drawn):
    torch.manual_seed(0)
    net = FaceLandmarker(**LANDMARKER).eval()
    group = drawn["faces"]
    crops = np.stack([cv2.resize(image, (32, 32)) for image in group.images])
    rings = [cv2.circle(np.full((32, 32, 3), n, np.uint8), (16, 16), 4 + n % 10, (0, 250, 0), 2) for n in range(60)]
    mined, before = np.stack(rings), net.presence.weight.detach().clone()
    batches = [{"crops": crops, "present": np.ones(len(crops), np.float32)}]
    batches += [{"crops": np.zeros((24, 32, 32, 3), np.uint8), "present": np.zeros(24, np.float32)}]
    with torch.no_grad():
        net.presence.bias.fill_(3.0)  # everything is a face
    figures = fit_presence_head(net, batches, mined, mined_weight=0.5, decay=0.0)
    assert figures["mined_taken_before"] == figures["faces_taken_before"] == 1
    assert figures["mined_taken"] < 0.1 and figures["others_taken"] < 0.1 and figures["faces_taken"] > 0.9
    assert not torch.equal(net.presence.weight, before)


def test_a_run_that_was_broken_off_ends_as_an_unbroken_one(drawn, tmp_path, monkeypatch):
    cfg = settings(tmp_path)
    train(cfg, tmp_path / "straight")

    made = training_data.DetectorBatches

    class Breaks(made):
        def __getitem__(self, index):
            if self.start + index == 4:
                raise InterruptedError
            return super().__getitem__(index)

    monkeypatch.setattr(training_data, "DetectorBatches", Breaks)
    with pytest.raises(InterruptedError):
        train(cfg, tmp_path / "broken")
    monkeypatch.setattr(training_data, "DetectorBatches", made)
    cfg.resume = str(tmp_path / "broken")
    train(cfg, tmp_path / "elsewhere")
    one, other = (torch.load(tmp_path / n / "last.ckpt", weights_only=True) for n in ("straight", "broken"))
    assert one["run"]["progress"]["step"] == other["run"]["progress"]["step"] == 18
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), f"{name} differs after going on"
    log = rows(tmp_path / "broken")
    assert log["step"][~np.isnan(log["valrecall"])].tolist() == [15, 18]


def test_a_run_starts_from_a_finished_tracker_and_its_card_keeps_the_run_before(drawn, tmp_path):
    cfg = settings(tmp_path)
    train(cfg, tmp_path / "first")
    cfg.model.part, cfg.start_from = "landmarker", str(tmp_path / "first/model")
    cfg.model.landmarker_training.update({"rate": 0.0, "samples": 32, "weight_decay": 0.0})
    train(cfg, tmp_path / "second")
    first, second = (load_file(tmp_path / n / "model/weights.safetensors") for n in ("first", "second"))
    assert first.keys() == second.keys()
    for name, value in second.items():
        assert torch.equal(value, first[name]) or "running" in name, f"{name} is not where it was"
    card = (tmp_path / "second/model/README.md").read_text()
    assert "32 samples, from the weights of `model`" in card and "## Landmarker, the run before" in card
    assert "192 samples" in card and "| 12 |" in card and card.count("## Detector") == 1
    assert str(tmp_path) not in card

    cfg.model.landmarker.features = 25
    with pytest.raises(UserError, match="has other layers than this configuration"):
        train(cfg, tmp_path / "third")
    cfg.start_from = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no tracker: give a tracker's model folder"):
        train(cfg, tmp_path / "third")


def test_the_tracker_is_logged_to_wandb_too(drawn, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    offline(monkeypatch, tmp_path)
    cfg = settings(tmp_path, "logger=wandb", "model.part=detector")
    train(cfg, tmp_path / "run")
    wandb.teardown()
    log = read_wandb(next((tmp_path / "run").glob("wandb/offline-run-*")))
    assert {"train/heat", "val/recall"} <= {name for row in log.rows.values() for name in row}
    assert log.record["status"] == "finished"


def test_missing_data_is_said_in_one_line(tmp_path):
    cfg = settings(tmp_path)
    cfg.data.folder = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="set VAEGAN_DATA"):
        train(cfg, tmp_path / "run")
    cfg.data.folder, cfg.model.part = str(tmp_path), "nose"
    with pytest.raises(UserError, match="landmarker, detector, both or presence"):
        train(cfg, tmp_path / "run")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["model=tracker", "data=synthetic", "data.synthetic=150"])
    with pytest.raises(UserError, match="model=tracker does not learn from StillsData but from TrackerData"):
        train(cfg, tmp_path / "run")


def test_networks_give_what_they_promise_and_folding_changes_nothing():
    torch.manual_seed(0)
    landmarker, detector = FaceLandmarker(**LANDMARKER).eval(), FaceDetector(**DETECTOR).eval()
    for module in (*landmarker.modules(), *detector.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    crops, images = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        before = [*landmarker(crops), detector(images)]
        assert [tuple(t.shape) for t in before] == [(2, 478, 3), (2,), (2, 52), (2, 6, 8, 12)]
        fold_batch_norms(landmarker), fold_batch_norms(detector)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in (*landmarker.modules(), *detector.modules()))
        for one, other in zip(before, [*landmarker(crops), detector(images)], strict=True):
            assert torch.allclose(one, other, atol=1e-4)


def test_fused_activations_change_nothing_but_speed_at_any_size():
    torch.manual_seed(0)
    for net, size in ((FaceLandmarker(**LANDMARKER), (32, 32)), (FaceDetector(**DETECTOR), (64, 96))):
        net.eval()
        fold_batch_norms(net), net.to(memory_format=torch.channels_last)
        images = [torch.rand(1, 3, *size), torch.rand(3, 3, *size)]
        if isinstance(net, FaceDetector):
            images.append(torch.rand(1, 3, 160, 32))
        with torch.inference_mode():
            before = [net(x) for x in images]
            fused = with_fused_activations(net, images[0])
            assert any("Fused" in type(m).__name__ for m in fused.modules()) == torch.backends.mkldnn.is_available()
            for x, expected in zip(images, before, strict=True):
                for one, other in zip(fused(x), expected, strict=True):
                    assert torch.allclose(one, other, atol=1e-4)
        with pytest.MonkeyPatch.context() as patch:  # a torch that does not offer it
            patch.setattr(networks._Fused, "forward", lambda *arguments: torch.ops.mkldnn.no_such_thing())
            assert with_fused_activations(net, images[0]) is net


def test_the_second_look_sees_eyes_and_mouth_where_the_mesh_has_them_and_both_eyes_alike():
    net = FaceLandmarker(**LANDMARKER).eval()
    base, _ = symmetric_points()
    seen = {}
    for name in ("eye", "mouth"):
        getattr(net, name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: inputs[0]})
        )
    region = CropTransform(0.52, 0.47, 1 / (1.35 * 1.1), 0.4)  # shifted, smaller than usual, turned
    mesh = region.to_picture(base + np.array([0.5, 0.5, 0]), 1.0).astype(np.float32)
    size, crop = 128, np.zeros((128, 128, 3), np.uint8)
    for points, colour in (((33, 133), (250, 0, 0)), ((362, 263), (250, 0, 0)), ((61, 291), (0, 250, 0))):
        centre = mesh[list(points), :2].mean(0) * size
        cv2.circle(crop, [round(float(v)) for v in centre], 4, colour, -1)
    outer = mesh[[33, 263], :2] * size
    for corner in outer:  # a mark on the side away from the nose
        cv2.circle(crop, [round(float(v)) for v in corner], 2, (0, 0, 250), -1)
    shape = torch.tensor([[0.0] * 6 + [0.02, -0.03, -np.log(1.1), 0.4]])
    with torch.no_grad():
        net._again(torch.from_numpy(crop)[None].permute(0, 3, 1, 2) / 255, torch.from_numpy(mesh)[None], shape)
    middle = LANDMARKER["patch"] // 2
    for patch, channel in ((seen["eye"][0], 0), (seen["eye"][1], 0), (seen["mouth"][0], 1)):
        y, x = np.unravel_index(patch[channel].argmax().item(), patch[channel].shape)
        assert abs(y - middle) <= 2 and abs(x - middle) <= 2
    right, left = (patch[2].sum(0).argmax().item() for patch in seen["eye"])
    assert right > middle and left > middle


def test_a_mesh_comes_back_from_its_code_and_place():
    group = drawn_group("faces", 48)
    model = fit_mesh_model({"faces": group}, 14)
    net = FaceLandmarker(**LANDMARKER | {"components": 14})
    net.set_mesh_model(torch.from_numpy(model.mean), torch.from_numpy(model.basis))
    mesh = group.mesh_px(40)  # held out
    roll = mesh_roll(mesh)
    cx, cy, side = mesh_box(mesh, roll)
    basis = model.basis / np.square(model.basis).sum(1, keepdims=True)
    code = basis @ (upright(mesh).reshape(-1) - model.mean)
    assert np.abs(code).max() < 5  # of unit variance
    # Seen in a region that is off by a tenth, a fifth larger and turned: shift, log scale and roll say so.
    region = CropTransform(cx - 6, cy + 4, side * LANDMARKER["roi_scale"] * 1.2, roll - 0.3)
    at = region.to_crop(np.array([[cx, cy]]), 1.0)[0] - 0.5
    shape = torch.tensor([[*code, *at, -np.log(1.2), 0.3]], dtype=torch.float32)
    decoded = net.mesh(shape)[0].numpy()
    assert np.abs(decoded - region.to_crop(mesh, 1.0)).max() < 0.006
