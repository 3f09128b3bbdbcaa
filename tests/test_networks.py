"""The networks have the paper's layers, work at every size, and start as the PCA that is written into them."""

import numpy as np
import pytest
import torch
from torch import nn

from vaegan import losses
from vaegan.networks import VAE, Decoder, Discriminator, Encoder
from vaegan.pca import fit_pca, mirrored_rows
from vaegan.training.pca_start import start_from_pca

SHIPPED = dict(
    size=64,
    latent=200,
    hidden=448,
    encoder_widths=[32, 32, 64, 64, 64, 64, 64],
    encoder_strides=[4, 1, 2, 1, 1, 1, 1],
    decoder_widths=[64, 64, 64, 64, 32, 32, 24],
    decoder_strides=[1, 1, 1, 2, 1, 2, 2],
)


def small(size: int = 16, latent: int = 6) -> VAE:
    return VAE(
        size=size,
        latent=latent,
        hidden=2 * latent + 4,
        encoder_widths=[16] * 7,
        encoder_strides=[2, 2, 1, 1, 1, 1, 1],
        decoder_widths=[16] * 7,
        decoder_strides=[1, 1, 1, 1, 1, 2, 2],
    )


def count(module: nn.Module, *kinds: type) -> int:
    return sum(isinstance(m, kinds) for m in module.modules())


def test_layer_counts_are_the_papers():
    vae = VAE(**SHIPPED)
    discriminator = Discriminator(64, [24, 48, 96, 128], [2, 2, 2, 2], [128, 64])
    for network, convolutions in ((vae.encoder, 7), (vae.decoder, 7), (discriminator, 4)):
        assert count(network, nn.Conv2d, nn.ConvTranspose2d) == convolutions
        assert count(network, nn.Linear) == 3
        assert sum(p.numel() for p in network.parameters()) == sum(
            p.numel()
            for m in network.modules()
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
            for p in m.parameters()
        ), "no parameters outside the paper's layers"


def test_shipped_size_fits_twelve_megabytes_in_float16():
    assert sum(p.numel() for p in VAE(**SHIPPED).parameters()) * 2 < 12e6


@pytest.mark.parametrize(
    ("size", "encoder_strides", "decoder_strides"),
    [
        (64, [4, 1, 2, 1, 1, 1, 1], [1, 1, 1, 2, 1, 2, 2]),
        (128, [4, 1, 2, 1, 2, 1, 1], [1, 1, 2, 2, 1, 2, 2]),
        (256, [4, 2, 2, 1, 2, 1, 1], [1, 2, 2, 2, 1, 2, 2]),
    ],
)
def test_sizes_come_from_the_same_classes(size, encoder_strides, decoder_strides):
    encoder = Encoder(size, SHIPPED["encoder_widths"], encoder_strides, 448, 200)
    decoder = Decoder(size, SHIPPED["decoder_widths"], decoder_strides, 448, 200)
    mu, logvar = encoder(torch.rand(2, 3, size, size))
    assert mu.shape == logvar.shape == (2, 200)
    assert decoder(mu).shape == (2, 3, size, size)
    assert count(encoder, nn.Conv2d) == 7


def test_discriminator_returns_a_logit_and_four_feature_maps():
    logits, features = Discriminator(64, [8, 8, 8, 8], [2, 2, 2, 2], [8, 8])(torch.rand(3, 3, 64, 64))
    assert logits.shape == (3,)
    assert [f.shape[-1] for f in features] == [32, 16, 8, 4]


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="7 convolutions"):
        Encoder(64, [8] * 6, [2] * 6, 8, 4)
    with pytest.raises(ValueError, match="does not divide"):
        Encoder(60, [8] * 7, [4, 1, 2, 1, 1, 1, 1], 8, 4)


def test_pca_start_reconstructs_like_pca():
    """Smooth pictures of 6 factors: PCA with 6 numbers rebuilds them, and so must the untrained VAE."""
    generator = np.random.default_rng(0)
    basis = generator.normal(size=(6, 3, 4, 4)).repeat(4, 2).repeat(4, 3)
    kernel = np.ones((5, 5)) / 25
    basis = np.stack([[_blur(c, kernel) for c in b] for b in basis])
    factors = generator.normal(size=(400, 6))
    pictures = np.clip(0.5 + 0.05 * np.einsum("nk,kchw->nhwc", factors, basis), 0, 1)
    crops = (255 * pictures).round().astype(np.uint8)
    rows = mirrored_rows(crops)
    linear = losses.psnr(fit_pca(rows, 12).reconstruct(rows), rows).mean()

    torch.manual_seed(0)
    vae = small(latent=12)
    start_from_pca(vae, crops, noise=0.0025)
    x = rows.view(-1, 3, 16, 16)
    with torch.no_grad():
        mu, logvar = vae.encoder(x)
        started = losses.psnr(torch.sigmoid(vae.decoder(mu)), x).mean()
    assert linear > 45 and started > 35, f"PCA start {started:.1f} dB, PCA {linear:.1f} dB"
    assert mu.std(0)[:6].sub(1).abs().max() < 0.2, "the code starts whitened"
    assert (logvar < 0).all()


def _blur(channel: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(channel, 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    return (windows * kernel).sum((2, 3))


def test_randomised_pca_agrees_with_the_exact_one():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(20, 5000, generator=generator)
    rows = torch.randn(300, 20, generator=generator) @ mixing + 0.1 * torch.randn(300, 5000, generator=generator)
    approximate = fit_pca(rows, 10)
    centred = rows - rows.mean(0)
    exact = torch.linalg.svd(centred, full_matrices=False)[1][:10] / 300**0.5
    assert torch.allclose(approximate.std, exact, rtol=1e-3)
    eye = approximate.components @ approximate.components.T
    assert torch.allclose(eye, torch.eye(10), atol=1e-4)
