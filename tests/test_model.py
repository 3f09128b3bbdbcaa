"""A model folder: saved and loaded with and without heads, and refused where it is not whole."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaegan.errors import UserError
from vaegan.folder import PRETRAINED
from vaegan.model import FaceModel, Framing, load_model
from vaegan.networks import VAE, Heads

SIZES = {"encoder_widths": [16] * 7, "encoder_strides": [2, 2, 1, 1, 1, 1, 1], "decoder_widths": [16] * 7}
SIZES |= {"decoder_strides": [1, 1, 1, 1, 1, 2, 2]}


def model(heads: bool = True) -> FaceModel:
    torch.manual_seed(0)
    vae = VAE(size=16, latent=6, hidden=16, **SIZES)
    return FaceModel(vae, Framing(1.25, True), "tiny", {"kind": "motion"}, Heads(6) if heads else None)


@pytest.mark.parametrize("heads", [True, False])
def test_a_saved_model_is_the_same_when_loaded(heads, tmp_path):
    made = model(heads)
    loaded = load_model(made.save(tmp_path / "tiny"))
    assert loaded.id == made.id
    assert (loaded.framing, loaded.training, loaded.has_heads) == (made.framing, made.training, heads)
    z = torch.randn(3, 6)
    assert torch.allclose(loaded.decode(z), made.decode(z), atol=1e-2)
    if heads:
        for a, b in zip(loaded.heads(z), made.heads(z), strict=True):
            assert torch.allclose(a, b, atol=1e-4)


def test_heads_are_linear_so_that_a_difference_reads_alike_on_everybody():
    made, (z, other, delta) = model(), torch.randn(3, 4, 6)
    moved = [made.heads(base + delta)[0] - made.heads(base)[0] for base in (z, other)]
    assert torch.allclose(*moved, atol=1e-6)


def test_heads_change_the_model_s_id():
    assert model(True).id != model(False).id


def test_a_model_without_heads_says_so():
    with pytest.raises(UserError, match="tiny has no heads"):
        model(False).heads(torch.randn(1, 6))


def test_a_latent_of_another_length_is_refused():
    with pytest.raises(ValueError, match="must be"):
        model().heads(torch.randn(1, 7))


@pytest.mark.parametrize("change", ["missing", "more", "shape", "truncated"])
def test_weights_that_do_not_fit_are_refused_in_one_line(change, tmp_path):
    path = model().save(tmp_path / "tiny") / "weights.safetensors"
    weights = load_file(path)
    if change == "missing":
        del weights["heads.mesh.bias"]
    elif change == "more":
        weights["encoder.other"] = torch.zeros(1)
    elif change == "shape":
        weights["heads.mesh.bias"] = torch.zeros(3)
    save_file(weights, path)
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="does not fit") as error:
        load_model(path.parent)
    assert "\n" not in str(error.value)


def test_a_folder_of_something_else_does_not_hide_a_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "motion64").mkdir()
    (tmp_path / "motion64" / "clip.mp4").touch()
    assert load_model("motion64").folder == PRETRAINED / "motion64"
    (tmp_path / "motion64" / "config.yaml").write_text("networks: {}\n")
    with pytest.raises(UserError, match="does not describe"):
        load_model("motion64")
