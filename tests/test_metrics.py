"""Figures with known answers: equal inputs, known correlations, known displacements, and the order they must keep."""

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from standin import PoolModel

from vaegan.critics.embedder import POINTS, TARGET
from vaegan.critics.lpips import load_lpips, lpips_distance
from vaegan.errors import UserError
from vaegan.evaluation import likeness, metrics
from vaegan.evaluation.distributions import VideoDistance, inception_figures, load_inception
from vaegan.evaluation.embedders import Dlib, MobileFaceNet, OnnxEmbedder, alignment
from vaegan.evaluation.heads import measure_heads, series
from vaegan.evaluation.metrics import Observed
from vaegan.evaluation.protocol import pairs
from vaegan.evaluation.stills import fit_mirrored_pca
from vaegan.evaluation.tables import Row, as_json, bootstrap, difference, summarise
from vaegan.faces.regions import OVAL
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.model import Framing
from vaegan.samples import find_photo


@pytest.fixture(scope="module")
def crops():
    """float (4, 3, 64, 64): smooth random pictures."""
    noise = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=64, mode="bicubic").clamp(0, 1)


def mesh_at(x=0.0, y=0.0, scale=1.0):
    """A mesh (478, 3) in 256 px, moved by x, y and scaled about its middle."""
    mesh = np.random.default_rng(1).uniform(80, 176, (478, 3))
    mesh[33], mesh[263] = (100, 110, 0), (150, 110, 0)
    return (mesh - 128) * scale + 128 + [x, y, 0]


def seen(count, expression=None, pose=None, mesh=None, found=None):
    """`Observed` with zeros for what is not given; rows that are not found hold NaN."""
    found = np.ones(count, bool) if found is None else np.asarray(found)
    arrays = [
        np.repeat(mesh_at()[None], count, 0) if mesh is None else mesh,
        np.zeros((count, 51)) if expression is None else expression,
        np.zeros((count, 3)) if pose is None else pose,
    ]
    return Observed(*(np.where(found.reshape(-1, *[1] * (a.ndim - 1)), a, np.nan) for a in arrays), found)


def test_equal_pictures_have_the_best_value_of_every_figure(crops):
    assert metrics.l1(crops, crops).tolist() == [0] * 4
    assert metrics.psnr(crops, crops).tolist() == [100] * 4
    for figure in (metrics.ssim, metrics.vif):
        assert torch.allclose(figure(crops, crops), torch.ones(4), atol=1e-4)
    assert metrics.sharpness(crops, crops).mean() == pytest.approx(1)


def test_psnr_is_the_mean_of_each_pictures_own(crops):
    base = crops * 0.5 + 0.25
    off = base + torch.tensor([0.1, 0.01, 0.1, 0.01]).view(4, 1, 1, 1)
    assert metrics.psnr(off, base).tolist() == pytest.approx([20, 40, 20, 40], abs=1e-3)
    assert metrics.l1(off, base).tolist() == pytest.approx([0.1, 0.01, 0.1, 0.01], abs=1e-5)


def test_more_blur_is_worse_in_every_figure(crops):
    textured = (crops + 0.2 * torch.randn(crops.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    blurred = [textured]
    for size in (3, 7):
        blurred.append(torch.nn.functional.avg_pool2d(textured, size, 1, size // 2, count_include_pad=False))
    for figure in (metrics.psnr, metrics.ssim, metrics.vif, metrics.sharpness):
        values = [float(figure(x, textured).mean()) for x in blurred]
        assert values[0] > values[1] > values[2]


def test_lpips_is_zero_for_equal_pictures_and_prefers_a_small_change(models_dir, crops):
    network = load_lpips()
    noise = torch.randn(crops.shape, generator=torch.Generator().manual_seed(2))
    same, little, much = (lpips_distance(network, (crops + s * noise).clamp(0, 1), crops) for s in (0, 0.05, 0.3))
    assert same.abs().max() < 1e-6
    assert (little < much).all()
    assert float(network.net.slice1[0].weight.abs().max()) > 0.5, "AlexNet's own filters, not a random start"


def test_lpips_without_weights_says_where_they_belong(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEGAN_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="alexnet_features"):
        load_lpips()
    (tmp_path / "alexnet_features.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="AlexNet"):
        load_lpips()
    assert "FID" in load_inception(None)


def test_correlation_weighs_each_axis_by_the_drivers_own_movement():
    time = np.linspace(0, 20, 400)
    driver = np.stack([3 * np.sin(time), np.cos(3 * time)], 1)
    follows_large = np.stack([np.sin(time), np.zeros_like(time)], 1)
    spread = driver.std(0)
    assert metrics.correlation(driver, driver) == pytest.approx(1)
    assert metrics.correlation(-driver, driver) == pytest.approx(-1)
    assert metrics.correlation(follows_large, driver) == pytest.approx(spread[0] / spread.sum())
    assert metrics.gain(follows_large, driver) == pytest.approx(spread[0] / spread.sum() / 3)
    assert metrics.gain(0.4 * driver + 7, driver) == pytest.approx(0.4)
    assert metrics.correlation(np.ones_like(driver), driver) == 0
    assert metrics.correlation(driver[:2], driver[:2]) == 0


def test_motion_is_compared_where_both_show_a_face():
    pose = np.random.default_rng(0).normal(size=(30, 3))
    driver = seen(30, pose=pose)
    found = np.arange(30) % 3 > 0
    assert metrics.pose_r(seen(30, pose=pose, found=found), driver) == pytest.approx(1)
    assert metrics.pose_r(seen(30, pose=pose, found=np.zeros(30, bool)), driver) == 0
    assert metrics.expression_r(seen(30), driver) == 0


def test_smile_bias_counts_only_what_neither_photo_nor_driver_asked_for():
    photo, driver, result = np.zeros((1, 51)), np.zeros((20, 51)), np.zeros((20, 51))
    photo[:, metrics.SMILE] = 0.2
    driver[:, metrics.SMILE] = np.linspace(0.3, 0.5, 20)[:, None]
    result[:, metrics.SMILE] = 0.2 + np.linspace(0, 0.2, 20)[:, None] + 0.15
    bias = metrics.smile_bias(seen(20, result), seen(1, photo), seen(20, driver))
    assert bias == pytest.approx(0.15)
    assert [metrics.BLENDSHAPES[i + 1] for i in metrics.SMILE] == ["mouthSmileLeft", "mouthSmileRight"]


def test_jitter_is_the_ratio_of_second_differences_whatever_the_size_of_the_face():
    shake = np.random.default_rng(0).normal(size=(40, 478, 3))
    small = seen(40, mesh=mesh_at() + shake)
    large = seen(40, mesh=mesh_at(scale=2) + 4 * shake)
    assert metrics.jitter(small, small) == pytest.approx(1)
    assert metrics.jitter(large, small) == pytest.approx(2, rel=0.05)
    steady = mesh_at() + np.arange(40)[:, None, None]
    assert metrics.jitter(seen(40, mesh=steady), small) == pytest.approx(0, abs=1e-9)


def test_distances_to_the_real_frames_have_their_units():
    real = seen(5)
    moved = seen(5, np.full((5, 51), 0.1), np.full((5, 3), 2.0), np.repeat(mesh_at(3, 4)[None], 5, 0))
    assert metrics.keypoint_distance(moved, real) == pytest.approx(100 * 5 / 50)
    assert metrics.expression_distance(moved, real) == pytest.approx(0.1)
    assert metrics.pose_error(moved, real) == pytest.approx(2)
    nowhere = seen(5, found=np.zeros(5, bool))
    assert np.isnan(metrics.keypoint_distance(nowhere, real))


def test_identity_is_the_mean_cosine_and_zero_when_there_is_no_face():
    photo = np.array([1.0, 0.0])
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]])
    assert likeness.identity(vectors, photo) == pytest.approx(0.5)
    assert likeness.identity(np.full((3, 1), np.nan), photo) == 0


def test_distance_by_dlib_is_the_mean_and_nothing_without_a_face():
    photo = np.array([1.0, 0.0])
    assert likeness.identity_dlib(np.array([[1.0, 0.0], [1.0, 0.5], [np.nan, np.nan]]), photo) == pytest.approx(0.25)
    assert np.isnan(likeness.identity_dlib(np.full((3, 1), np.nan), photo))


def test_likeness_is_told_apart_by_how_far_the_head_is_turned_from_the_photo():
    pose = np.array([[5.0, 0, 40], [5, 3, 0], [5, 12, 0], [35, 0, 0], [np.nan] * 3])
    vectors = np.array([[1.0, 0], [0.8, 0.6], [0.6, 0.8]])  # of every second frame
    result = replace(seen(5, pose=pose, found=np.arange(5) < 4), embeddings={"identity": vectors})
    photo = replace(seen(1, pose=np.array([[5.0, 0, 0]])), embeddings={"identity": np.array([[1.0, 0]])})
    figures = likeness.turns(result, photo, every=2)
    assert figures["turn"] == pytest.approx((0 + 3 + 12 + 30) / 4), "roll turns nobody away"
    assert figures["identity_near"] == pytest.approx(1) and figures["identity_turned"] == pytest.approx(0.8)
    assert np.isnan(figures["identity_far"])


def test_sharpness_at_full_resolution_is_that_of_the_face_alone():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    mesh = np.full((478, 2), 32.0)
    angles = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    mesh[list(OVAL)] = 32 + 12 * np.stack([np.cos(angles), np.sin(angles)], 1)
    around, inside = noise.copy(), noise.copy()
    around[:16], inside[12:52, 12:52] = 0, cv2.blur(noise, (5, 5))[12:52, 12:52]
    assert metrics.sharpness_full([around], [mesh], noise, mesh) == pytest.approx(1)
    assert metrics.sharpness_full([inside], [mesh], noise, mesh) < 0.2
    assert np.isnan(metrics.sharpness_full([], [], noise, mesh))


def test_an_embedder_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        OnnxEmbedder(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match="text"):
        OnnxEmbedder(tmp_path / "text.onnx")


def test_alignment_puts_the_five_points_where_arcface_wants_them():
    turn = 0.5 * np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    mesh = mesh_at()
    mesh[list(POINTS), :2] = (TARGET - np.array([10, 20])) @ np.linalg.inv(turn).T
    assert np.allclose(alignment(mesh).to_crop(mesh[list(POINTS), :2], 112), TARGET, atol=1e-6)


def photo_and_turned():
    """The sample photo and the same photo turned and smaller, each with its face's mesh; and a stranger's."""
    image, tracker = read_image(find_photo("sample")), FaceTracker("own")
    turn = cv2.getRotationMatrix2D((225, 140), 20, 0.8)
    turned = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    return [(picture, tracker.detect(picture)[0].mesh) for picture in (image, turned)]


def test_one_network_by_torch_and_by_onnx_gives_one_vector(models_dir):
    (image, mesh), _ = photo_and_turned()
    ours, theirs = MobileFaceNet(), OnnxEmbedder(models_dir / "mobilefacenet.onnx")
    assert np.abs(ours(image, mesh) - theirs(image, mesh)).max() < 1e-3
    rows = ours(np.stack([image, image]), np.stack([mesh, mesh]))
    assert rows.shape == (2, 128) and np.allclose(rows[1], ours(image, mesh), atol=1e-6)


def test_dlib_knows_a_person_again():
    pytest.importorskip("dlib")
    dlib = Dlib()
    same, turned = (dlib(image, mesh) for image, mesh in photo_and_turned())
    assert np.linalg.norm(same - turned) < 0.4


def test_without_dlib_its_packages_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install dlib-bin face_recognition_models"):
        Dlib()


def test_intervals_are_over_clips_and_the_same_every_time():
    rows = [
        Row("model", f"clip{i}", f"photo{j}", {"pose_r": 0.1 * i, "jitter": np.nan}) for i in range(4) for j in (0, 1)
    ]
    table = summarise(rows, seed=0)
    assert table == summarise(rows, seed=0)
    figure = table["model"]["pose_r"]
    assert figure["mean"] == pytest.approx(0.15)
    assert figure["n"] == 4
    assert figure["low"] < 0.15 < figure["high"]
    assert table["model"]["jitter"]["mean"] is None
    json.dumps(as_json(rows), allow_nan=False)
    wide, narrow = bootstrap(np.tile([0.0, 1.0], 5), 0), bootstrap(np.tile([0.0, 1.0], 50), 0)
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


def test_a_clip_counts_by_its_weight():
    rows = [Row("lip gap", "a", "", {"head_r": 0.0}, 3.0), Row("lip gap", "b", "", {"head_r": 1.0}, 1.0)]
    assert summarise(rows, seed=0)["lip gap"]["head_r"]["mean"] == pytest.approx(0.25)
    assert bootstrap(np.array([1.0, 2.0]), 0, np.zeros(2))["mean"] is None


def speaking(count=30):
    """Meshes (T, 478, 3) of the sample's face in sides of a crop, its lips and lids opening, its iris moving."""
    image = read_image(find_photo("sample"))
    mesh = FaceTracker("own").detect(image)[0].mesh / image.shape[0]
    open_by = np.abs(np.sin(np.arange(count) / 3))
    meshes = np.repeat(mesh[None].astype(float), count, 0)
    meshes[:, 14] = meshes[:, 13] + open_by[:, None] * [0, 0.02, 0]
    meshes[:, [145, 374]] = meshes[:, [159, 386]] + open_by[::-1, None, None] * [0, 0.02, 0]
    meshes[:, [468, 473], 0] += 0.01 * np.cos(np.arange(count))[:, None]
    return meshes


class Heads(PoolModel):
    """A model whose latent is the number of the frame, and whose heads see half of what moves."""

    has_heads, framing = True, Framing(1.25, True)

    def __init__(self, meshes, blendshapes):
        self.meshes, self.blendshapes = meshes, blendshapes

    def heads(self, z):
        read = [part[z[:, 0].long().numpy()] for part in (self.meshes, self.blendshapes)]
        return tuple(torch.from_numpy((part + part.mean(0)) / 2) for part in read)


def test_heads_that_see_half_of_what_moves_have_a_gain_of_one_half():
    meshes, shapes = speaking(), np.random.default_rng(0).uniform(size=(30, 52))
    there = seen(30, shapes[:, 1:], mesh=256 * meshes, found=np.arange(30) != 4)
    clip = SimpleNamespace(name="clip", crops=there, latents=np.arange(30, dtype=np.float32)[:, None])
    rows = {row.system: row for row in measure_heads([clip], Heads(meshes, shapes))}
    for name in ("lip gap", "eye gap", "iris x", "blendshapes"):
        assert rows[name].figures == pytest.approx({"head_r": 1, "head_gain": 0.5}, abs=0.03), name
    assert rows["mouth width"].figures["head_r"] == 0 == pytest.approx(rows["mouth width"].weight, abs=1e-6)
    assert set(rows) == {"lip gap", "eye gap", "iris x", "mouth width", "jaw", "brows", "yaw", "pitch", "blendshapes"}


def test_openings_are_in_sides_of_the_mesh_box():
    meshes = speaking()
    one, turned = series(meshes), series(meshes * 3)
    box = (meshes[:, :468, :2].max(1) - meshes[:, :468, :2].min(1)).max(1)
    assert one["lip gap"] == pytest.approx(np.abs(meshes[:, 14, 1] - meshes[:, 13, 1]) / box)
    for name, values in one.items():
        assert turned[name] == pytest.approx(values), name


def test_photos_are_dealt_evenly_and_never_twice_to_a_clip():
    dealt = pairs(16, 26, 4, seed=0)
    assert dealt == pairs(16, 26, 4, seed=0) != pairs(16, 26, 4, seed=1)
    assert len(set(dealt)) == len(dealt) == 64
    uses = np.bincount([photo for _, photo in dealt], minlength=26)
    assert uses.max() - uses.min() <= 1
    assert pairs(2, 1, 4, seed=0) == [(0, 0), (1, 0)]


def test_the_mirrored_pca_is_the_pca_of_crops_and_mirror_images():
    from vaegan.pca import fit_pca, mirrored_rows

    crops = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    mean, components = fit_mirrored_pca(crops, 10)
    whole = fit_pca(mirrored_rows(crops), 10)
    assert torch.allclose(mean, whole.mean, atol=1e-5)
    assert torch.allclose(components.T @ components, whole.components.T @ whole.components, atol=1e-3)


class _Mean(torch.nn.Module):
    """Shaped like the I3D network of StyleGAN-V; its features are the mean colour."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        return x.mean(dim=[2, 3, 4])


def test_fvd_is_the_frechet_distance_over_windows_of_16_frames(tmp_path):
    torch.jit.script(_Mean()).save(str(tmp_path / "i3d.pt"))
    distance = VideoDistance(tmp_path / "i3d.pt")
    frames = np.random.default_rng(0).integers(0, 100, (10, 1, 1, 1, 3), dtype=np.uint8)
    clips = np.tile(frames, (1, 40, 8, 8, 1))
    for clip in clips:
        distance.add("real", clip)
        distance.add("same", clip)
        distance.add("brighter", clip + 30)
    assert len(distance.features["real"]) == 20
    assert distance.compute("same", "real") == pytest.approx(0, abs=0.05)
    assert distance.compute("brighter", "real") == pytest.approx(3 * 30**2, rel=1e-3)
    assert distance.compute("nothing", "real") is None
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(UserError, match="TorchScript"):
        VideoDistance(tmp_path / "text.pt")


class _Colour(torch.nn.Module):
    """In Inception's place: uint8 (N, 3, S, S) -> mean colours (N, 3)."""

    def forward(self, x):
        assert x.dtype == torch.uint8
        return x.double().mean((2, 3))


def test_fid_and_kid_compare_with_the_real_set():
    real = np.tile(np.random.default_rng(0).integers(0, 200, (60, 1, 1, 3), dtype=np.uint8), (1, 64, 64, 1))
    networks = {"2048": _Colour(), "logits_unbiased": _Colour()}
    same = inception_figures(networks, real, real, seed=0)
    brighter = inception_figures(networks, real + 20, real, seed=0)
    assert same["fid"] == pytest.approx(0, abs=0.1)
    assert brighter["fid"] == pytest.approx(3 * 20**2, rel=0.01)
    assert brighter["kid"] > same["kid"]
    assert brighter["inception"] >= 1
    assert inception_figures(networks, real + 20, real, seed=0) == brighter


def test_running_figures_are_those_of_the_whole_series():
    rng = np.random.default_rng(3)
    driver = rng.normal(size=(50, 3)) * [5, 1, 0] + [100, 0, 7]
    result = 0.4 * driver + rng.normal(size=(50, 3)) * [1, 1, 0]
    running = metrics.RunningMotion(3)
    for rows in zip(result, driver, strict=True):
        running.add(*rows)
    assert running.correlation() == pytest.approx(metrics.correlation(result, driver))
    assert running.gain() == pytest.approx(metrics.gain(result, driver))
    assert running.spread == pytest.approx(driver.std(0))
    found = np.ones(50, bool)
    found[20:23] = False
    meshes = [np.cumsum(rng.normal(size=(50, 478, 3)), 0) + mesh_at() for _ in range(2)]
    shaken = [seen(50, mesh=mesh, found=mask) for mesh, mask in zip(meshes, (found, np.ones(50, bool)), strict=True)]
    jitter = metrics.RunningJitter()
    for a, b, there in zip(*meshes, found, strict=True):
        jitter.add(a if there else None, b)
    assert jitter.value() == pytest.approx(metrics.jitter(*shaken))


def test_a_difference_is_taken_pair_by_pair():
    """What clips and photos have in common falls out; a pair that one side lacks does not count."""
    ours = [Row("model", clip, photo, {"x": 10 * i + 0.5}) for i, clip in enumerate("abc") for photo in "pq"]
    theirs = [Row("model", clip, photo, {"x": 10.0 * i}) for i, clip in enumerate("abc") for photo in "pq"]
    theirs += [Row("model", "d", "p", {"x": 99.0}), Row("static photo", "a", "p", {"x": 5.0})]
    assert difference(ours, theirs, "model", "x", 0) == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 3}
    assert difference(ours, [], "model", "x", 0)["mean"] is None
