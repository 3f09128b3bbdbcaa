"""A latent that carries motion trains from a pack, resumes exactly, and leaves a model with heads."""

import numpy as np
import pytest
import torch
from host_calls import host_calls
from hydra import compose, initialize_config_dir

from vaegan import losses
from vaegan.config import CONF
from vaegan.data.pack import Pack
from vaegan.data.pack_data import PackData
from vaegan.errors import UserError
from vaegan.faces.geometry import MESH_POINTS
from vaegan.faces.regions import LEFT_LIDS, RIGHT_LIDS
from vaegan.faces.weights import find_weights
from vaegan.model import load_model
from vaegan.networks import Heads
from vaegan.training.following import following, match_eyes
from vaegan.training.motion import MotionAutoencoder
from vaegan.training.run import train

NETWORKS = [
    "model.networks.hidden=32",
    "model.networks.latent=16",
    "model.networks.encoder_widths=[16,16,16,16,16,16,16]",
    "model.networks.decoder_widths=[16,16,16,16,16,16,16]",
    "model.discriminator.widths=[8,8,8,8]",
    "model.discriminator.hidden=[8,8]",
]
UNJUDGED = [f"model.weights.{name}=0" for name in ("lpips", "identity")]
SHORT = ["data.batch=8", "data.steps=2", "trainer.epochs=2", "trainer.log_every=1", "model.gan.start=0"]
SHORT += ["model.critics.start=0", "callbacks.preview=null", "callbacks.pca_line=null", "callbacks.lpips=null"]
needs_critics = pytest.mark.skipif(
    not (find_weights("mobilefacenet_torch.npz") and find_weights("alexnet_features.safetensors")),
    reason="mobilefacenet_torch.npz and alexnet_features.safetensors are not in VAEGAN_MODELS",
)


def drawn_pack(stills: int, frames: int, seed: int) -> Pack:
    """Pictures and labels of nobody: smooth colours, a face-like cloud of points."""
    random = np.random.default_rng(seed)
    n = stills + frames
    face = random.uniform(0.25, 0.75, (1, MESH_POINTS, 3))
    mesh = (face + random.normal(0, 0.01, (n, 1, 3)) + random.normal(0, 0.002, (n, MESH_POINTS, 3))).astype(np.float16)
    crops = np.repeat(np.repeat(random.integers(0, 255, (n, 8, 8, 3), np.uint8), 8, 1), 8, 2)
    inside = np.ones((n, 64, 64), bool)
    inside[: stills // 2, :4] = False
    clip = np.concatenate([np.full(stills, -1), np.repeat(np.arange(frames // 4), 4)]).astype(np.int32)
    shapes = random.integers(0, 255, (n, 52), np.uint8)
    few = np.zeros((frames, 4), np.float32)
    return Pack(crops, inside, mesh, shapes, clip, np.zeros((0, 256, 256, 3), np.uint8), mesh[stills:], few, few[:, 0])


@pytest.fixture(autouse=True)
def packs(monkeypatch):
    def setup(self, stage=None):
        from vaegan.data.pack_data import PackBatches, PackRows

        if self.train is None:
            self.source = "drawn"
            drawing = self.batch, self.paired, self.steps, self.seed, self.brightness, self.tint
            self.train = PackBatches(drawn_pack(24, 16, 0), *drawing)
            self.val = PackRows(drawn_pack(8, 8, 1), self.batch)

    monkeypatch.setattr(PackData, "setup", setup)


def run(folder, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = ["model=motion64", "data=motion", *NETWORKS, *SHORT, *overrides]
        train(compose("config", overrides=settings), folder)
    return torch.load(folder / "last.ckpt", weights_only=True, map_location="cpu")


def test_a_short_run_leaves_a_model_with_heads_and_a_curve(tmp_path):
    run(tmp_path / "run", *UNJUDGED)
    model = load_model(tmp_path / "run/model")
    mesh, blendshapes = model.heads(torch.zeros(2, model.latent_dim))
    assert mesh.shape == (2, 478, 3) and blendshapes.shape == (2, 52)
    assert (model.framing.scale, model.framing.follow) == (1.25, True)
    curve = (tmp_path / "run/metrics.csv").read_text()
    for name in ("critic_blendshapes", "critic_openings", "cycle", "adversarial", "val/lip_gap_gain", "val/eye_gap_r"):
        assert name in curve
    assert "drawn" in (tmp_path / "run/model/README.md").read_text()
    assert list((tmp_path / "run/grids").glob("*.png"))


@needs_critics
def test_all_critics_together_train(tmp_path):
    run(tmp_path / "run")
    curve = (tmp_path / "run/metrics.csv").read_text().splitlines()[0]
    for name in ("train/identity", "train/lpips", "val/stranger_identity", "val/stranger_expression_error"):
        assert name in curve


@needs_critics
def test_a_step_asks_nothing_of_the_host_once_it_has_run(tmp_path, monkeypatch):
    calls = host_calls(monkeypatch, MotionAutoencoder)
    run(tmp_path / "run", "model.gan.r1_every=1")
    assert calls[1:] == [{}] * 3


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    whole = run(tmp_path / "whole", *UNJUDGED)
    broken = tmp_path / "broken"
    run(broken, *UNJUDGED, "trainer.epochs=1", "model.optimizer.schedule=constant", "export=false")
    unbroken = run(tmp_path / "unbroken", *UNJUDGED, "model.optimizer.schedule=constant")
    resumed = run(broken, *UNJUDGED, "model.optimizer.schedule=constant", f"resume={broken}")
    assert resumed["run"]["progress"]["step"] == whole["run"]["progress"]["step"] == 4
    for name, value in unbroken["state_dict"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, resumed["state_dict"][name]), name


@pytest.mark.parametrize(
    "off",
    [
        ["model.strangers=false"],
        ["model.weights.adversarial=0", "model.weights.feature=0"],
        ["model.weights.critic_mesh=0", "model.weights.critic_blendshapes=0", "model.weights.critic_openings=0"],
        ["model.weights.mesh=0", "model.weights.blendshapes=0", "model.weights.openings=0"],
        ["model.weights.cycle=0", "model.critics.share=0"],
        ["data.paired=0"],
    ],
)
def test_every_term_can_be_switched_off(off, tmp_path):
    run(tmp_path / "run", *UNJUDGED, *off, "trainer.epochs=1", "export=false")


def test_a_run_starts_from_a_model_with_heads_and_counts_on(tmp_path):
    run(tmp_path / "one", *UNJUDGED)
    started = run(tmp_path / "two", *UNJUDGED, f"start_from={tmp_path / 'one/model'}", "model.optimizer.lr=0")
    one, two = load_model(tmp_path / "one/model"), load_model(tmp_path / "two/model")
    z = torch.randn(2, one.latent_dim)
    assert torch.allclose(one.heads(z)[0], two.heads(z)[0], atol=1e-3)
    assert started["run"]["images_before"] == 32 and two.training["images_seen"] == 64


def test_a_model_of_other_layers_is_refused(tmp_path):
    with pytest.raises(UserError, match="other layers"):
        run(tmp_path / "run", *UNJUDGED, "start_from=paper-vae")


def test_following_knows_gain_and_correlation():
    time = torch.linspace(0, 6, 50)[:, None]
    true = torch.cat([time.sin(), time.cos()])
    clip = torch.cat([torch.zeros(50), torch.ones(50)])
    r, gain = following(0.5 * true + 3, true, clip)
    assert r.item() == pytest.approx(1, abs=1e-5) and gain.item() == pytest.approx(0.5, abs=1e-5)
    r, _ = following(-true, true, clip)
    assert r.item() == pytest.approx(-1, abs=1e-5)


def test_a_pca_start_rebuilds_crops_before_any_training(tmp_path):
    layout = ["model.networks.encoder_strides=[4,1,2,1,1,1,1]", "model.networks.decoder_strides=[1,1,1,2,1,2,2]"]
    layout += [
        "model.networks.encoder_widths=[64,64,64,64,64,64,64]",
        "model.networks.decoder_widths=[64,64,64,64,16,16,16]",
    ]
    crops = torch.from_numpy(drawn_pack(24, 16, 0).crops).permute(0, 3, 1, 2).float() / 255
    left = {}
    for pca in ("true", "false"):
        run(tmp_path / pca, *UNJUDGED, *layout, f"model.pca_start={pca}", "trainer.steps=1", "model.optimizer.lr=0")
        model = load_model(tmp_path / pca / "model")
        left[pca] = (model.decode(model.encode(crops)) - crops).square().mean() / crops.var()
    assert left["true"] < 0.9 and left["false"] > 0.95


def test_a_pca_start_that_does_not_fit_the_networks_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"PCA start needs .*model\.pca_start"):
        run(tmp_path / "run", *UNJUDGED, "model.pca_start=true")


def test_frozen_parts_keep_their_weights_while_the_others_learn(tmp_path, monkeypatch):
    monkeypatch.setattr("vaegan.training.motion_figures.PHOTOS", 1)  # so that eyes that are not frozen are stretched
    run(tmp_path / "one", *UNJUDGED)
    settings = [f"start_from={tmp_path / 'one/model'}", "model.frozen=[encoder,heads]", "model.optimizer.lr=0.01"]
    run(tmp_path / "two", *UNJUDGED, *settings)
    one, two = (load_model(tmp_path / name / "model") for name in ("one", "two"))
    crops, z = torch.rand(2, 3, 64, 64), torch.randn(2, one.latent_dim)
    assert torch.equal(one.encode(crops), two.encode(crops)) and torch.equal(one.heads(z)[0], two.heads(z)[0])
    assert not torch.equal(one.decode(z), two.decode(z))


@pytest.mark.parametrize("frozen", ["[eyes]", "[encoder,decoder,heads]"])
def test_parts_that_cannot_be_frozen_are_named(frozen, tmp_path):
    with pytest.raises(UserError, match="encoder, decoder, heads"):
        run(tmp_path / "run", *UNJUDGED, f"model.frozen={frozen}")


def test_eyes_are_stretched_until_they_vary_as_in_the_truth():
    torch.manual_seed(0)
    mean, z = torch.from_numpy(drawn_pack(1, 0, 0).mesh)[0].float(), torch.randn(64, 8)
    own = 0.02 * torch.randn(8, *mean.shape)
    heads = Heads(8)
    heads.mesh.bias.data, heads.mesh.weight.data = mean.flatten(), 0.8 * own.flatten(1).T.contiguous()
    true = mean + torch.einsum("nd,dpc->npc", z, own)
    read = heads(z)[0].detach()
    assert min(match_eyes(heads, z, true)) > 1.1
    stretched = heads(z)[0].detach()
    spread = [float(losses.openings(mesh)[:, 1:3].std(0).mean()) for mesh in (read, stretched, true)]
    assert abs(spread[1] / spread[2] - 1) < 0.3 * abs(spread[0] / spread[2] - 1)
    others = [point for point in range(468) if point not in RIGHT_LIDS + LEFT_LIDS]
    assert torch.allclose(read[:, others], stretched[:, others], atol=1e-5)
