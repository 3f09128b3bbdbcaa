"""Every loss term is the formula that its docstring gives, on one scale for any batch."""

import math

import pytest
import torch

from vaegan import losses
from vaegan.ema import averaged
from vaegan.faces.regions import LIPS


def test_bce_is_the_sum_over_pixels_and_the_mean_over_the_batch():
    logits = torch.tensor([[[[0.0, 2.0]]], [[[-1.0, 3.0]]]])
    crops = torch.tensor([[[[0.25, 1.0]]], [[[0.0, 0.5]]]])
    p = 1 / (1 + (-logits).exp())
    expected = -(crops * p.log() + (1 - crops) * (1 - p).log()).sum() / 2
    assert torch.allclose(losses.reconstruction_bce(logits, crops), expected)
    doubled = losses.reconstruction_bce(logits.repeat(2, 1, 1, 1), crops.repeat(2, 1, 1, 1))
    assert torch.allclose(doubled, expected)


def test_bce_is_computed_in_float32_from_half_precision_logits():
    logits = torch.full((1, 3, 64, 64), 12.0, dtype=torch.bfloat16)
    value = losses.reconstruction_bce(logits, torch.ones(1, 3, 64, 64))
    assert value.dtype == torch.float32
    assert value == pytest.approx(12288 * math.log1p(math.exp(-12)), rel=1e-3)


def test_kl_agrees_with_torch_distributions():
    mu, logvar = torch.randn(5, 7), torch.randn(5, 7)
    posterior = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert torch.allclose(losses.kl_divergence(mu, logvar), expected, atol=1e-5)
    assert losses.kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)) == 0


@pytest.mark.parametrize("form", ["bce", "hinge"])
def test_adversarial_losses_pull_in_opposite_directions(form):
    fake = torch.zeros(4, requires_grad=True)
    (for_d,) = torch.autograd.grad(losses.discriminator_loss(torch.zeros(4), fake, form), fake)
    (for_vae,) = torch.autograd.grad(losses.adversarial_loss(fake, form), fake)
    assert (for_d > 0).all() and (for_vae < 0).all()


def test_bce_game_at_a_coin_toss_is_two_log_two():
    assert losses.discriminator_loss(torch.zeros(3), torch.zeros(3)) == pytest.approx(2 * math.log(2))
    with pytest.raises(ValueError, match="wasserstein"):
        losses.adversarial_loss(torch.zeros(1), "wasserstein")


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    weight = torch.randn(3 * 4 * 4)
    crops = torch.rand(5, 3, 4, 4, requires_grad=True)
    penalty = losses.r1_penalty(crops.flatten(1) @ weight, crops)
    assert torch.allclose(penalty, 0.5 * weight.square().sum())


def test_feature_matching_is_zero_for_equals_and_keeps_its_scale():
    real = [torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)]
    fake = [r + 0.1 for r in real]
    assert losses.feature_matching(real, real) == 0
    value = losses.feature_matching(fake, real)
    assert value > 0
    assert torch.allclose(losses.feature_matching([10 * f for f in fake], [10 * r for r in real]), value)


def test_d_accuracy_counts_both_kinds():
    assert losses.d_accuracy(torch.tensor([1.0, -1.0]), torch.tensor([-1.0, -1.0])) == 0.75


def test_psnr_is_per_picture():
    x = torch.full((2, 3, 8, 8), 0.5)
    y = x.clone()
    y[0] += 0.1
    y[1] += 0.01
    assert torch.allclose(losses.psnr(y, x), torch.tensor([20.0, 40.0]), atol=1e-3)


def test_sharpness_falls_when_a_picture_is_blurred():
    picture = torch.rand(1, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    assert losses.laplacian_variance(blurred) < 0.2 * losses.laplacian_variance(picture)


def test_the_average_forgets_its_random_start():
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    torch.nn.init.constant_(network[0].weight, 100.0)
    average = averaged(network, 0.999)
    average.update_parameters(network)
    torch.nn.init.constant_(network[0].weight, 1.0)
    network[1].num_batches_tracked.fill_(7)
    for _ in range(300):
        average.update_parameters(network)
    assert average.module[0].weight.item() == pytest.approx(1.0, abs=0.01)
    assert average.module[1].num_batches_tracked == 7


def test_the_gradient_of_feature_matching_stays_channels_last_as_the_features_are():
    real, fake = (torch.rand(4, 6, 8, 8).to(memory_format=torch.channels_last) for _ in range(2))
    fake.requires_grad_(True)
    losses.feature_matching([fake], [real]).backward()
    assert fake.grad.is_contiguous(memory_format=torch.channels_last)
    sign = (fake - real).sign().detach()
    assert torch.allclose(fake.grad, sign / fake.numel() / real.abs().mean())


def face_mesh(n: int = 1) -> torch.Tensor:
    """(n, 478, 3) random meshes about a head's size, in sides of the crop."""
    return torch.rand(n, 478, 3, generator=torch.Generator().manual_seed(3)) * 0.6 + 0.2


def test_region_weights_have_mean_one_and_are_highest_at_the_mouth():
    mesh = torch.full((1, 478, 3), 0.5)
    mesh[:, list(LIPS), :2] = torch.tensor([0.5, 0.75]) + 0.1 * (torch.rand(len(LIPS), 2) - 0.5)
    weights = losses.region_weights(mesh, 64, features=8, brows=0)
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert weights[0, 0, 48, 32] > 4 * weights[0, 0, 5, 5]


def test_weights_of_one_leave_the_reconstruction_as_it_is():
    logits, crops = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    plain = losses.reconstruction_bce(logits, crops)
    assert torch.allclose(losses.reconstruction_bce(logits, crops, torch.ones(2, 1, 8, 8)), plain)
    assert losses.reconstruction_bce(logits, crops, torch.zeros(2, 1, 8, 8)) == 0


def test_openings_see_a_shut_mouth_that_the_mesh_hardly_sees():
    open_mesh = face_mesh()
    shut = open_mesh.clone()
    shut[:, 13] = shut[:, 14]
    gap = 64 * (open_mesh[0, 13, :2] - open_mesh[0, 14, :2]).norm()
    assert losses.opening_distance(shut, open_mesh).item() == pytest.approx(gap.item() ** 2, rel=1e-4)
    assert losses.opening_distance(open_mesh, open_mesh) == 0


def test_openings_are_the_same_wherever_the_face_is():
    mesh = face_mesh()
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    moved = mesh.clone()
    moved[..., :2] = mesh[..., :2] @ turn + 0.1
    assert torch.allclose(losses.openings(moved), losses.openings(mesh), atol=1e-5)


def test_a_mesh_distance_is_bounded_point_by_point():
    mesh, target = face_mesh(), face_mesh()
    mesh[:, 5] += 10
    weights = losses.point_weights()
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert losses.mesh_distance(mesh, target, weights, at_most=0.05).item() == pytest.approx(0.05 * weights[5].item())


def test_identity_and_cycle_distances_vanish_on_equals():
    e = torch.nn.functional.normalize(torch.randn(4, 16), dim=1)
    assert losses.identity_distance(e, e).item() == pytest.approx(0, abs=1e-6)
    assert losses.identity_distance(e, -e).item() == pytest.approx(2, abs=1e-6)
    assert losses.cycle_distance(e, e) == 0
