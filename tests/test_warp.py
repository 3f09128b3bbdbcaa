"""The renderer that moves the photo itself: what stays, what moves, and at which resolution."""

import cv2
import numpy as np
import pytest
import torch
from standin import save_tiny_model

from vaegan.errors import UserError
from vaegan.faces.geometry import mesh_box
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.model import FaceModel, Framing, load_model
from vaegan.networks import VAE, Heads
from vaegan.portrait import read_portrait
from vaegan.render import build_renderer
from vaegan.render.refiner import Refiner, compose, where_painted
from vaegan.render.triangles import EYE, MOUTH
from vaegan.render.view import FullView
from vaegan.render.warp import Warp
from vaegan.samples import find_photo

REST = np.zeros((1, 4), np.float32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    widths = [12, 16, 16, 16, 16, 16, 16]
    strides = [2, 2, 2, 2, 2, 1, 1]
    vae = VAE(64, 8, 32, widths, strides, widths[::-1], strides[::-1])
    heads = Heads(8)
    torch.nn.init.normal_(heads.mesh.weight, std=0.003)
    return FaceModel(vae, Framing(1.25, True), "tiny", {}, heads)


@pytest.fixture(scope="module")
def portrait(model):
    """The sample photo with room around its face."""
    image = cv2.copyMakeBorder(read_image(find_photo("sample")), 200, 200, 200, 200, cv2.BORDER_REFLECT)
    return read_portrait(image, model, FaceTracker("own"))


def refiner(strength=1.0):
    """One that paints and moves something everywhere."""
    torch.manual_seed(1)
    made = Refiner([4, 4, 4, 4]).eval().requires_grad_(False)
    made.head.weight.normal_(0, 0.3 * strength)
    return made


def render(model, portrait, delta=0.0, place=REST, mend=None, size=256):
    view = FullView(portrait.image, portrait.crop, model.framing.scale)
    deltas = np.full((1, 8), delta, np.float32)
    return Warp(model, portrait, mend, size, view).render(deltas, place)[0]


def test_a_photo_at_rest_is_the_photo(model, portrait):
    image = render(model, portrait).image.astype(int)
    assert np.abs(image - portrait.image[: image.shape[0], : image.shape[1]]).max() <= 1


def test_what_lies_far_from_the_face_stays_as_it_is_to_the_last_bit(model, portrait):
    image = render(model, portrait, delta=1.0, mend=refiner()).image
    x, y, side = mesh_box(portrait.mesh)
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    far = (np.abs(xx - x) > 2 * side) | (np.abs(yy - y) > 2 * side)
    assert far.sum() > 1000 and not (image[far] != portrait.image[: image.shape[0], : image.shape[1]][far]).any()
    assert (image != portrait.image[: image.shape[0], : image.shape[1]]).any(2).mean() > 0.02


def test_colour_is_painted_on_mouth_and_eyes_alone(model, portrait):
    plain, mended = (render(model, portrait, 1.0, mend=mend).image.astype(int) for mend in (None, refiner()))
    changed = np.abs(plain - mended).max(2)
    x, y, side = mesh_box(portrait.mesh)
    yy, xx = np.mgrid[: changed.shape[0], : changed.shape[1]]
    beyond = (np.abs(xx - x) > 0.6 * side) | (np.abs(yy - y) > 0.6 * side)
    assert not changed[beyond].any()
    assert 0.001 < (changed > 5).mean() < 0.02


def test_lids_that_are_painted_are_no_redder_than_the_skin_around_them():
    grey = torch.full((1, 3, 256, 256), 0.5)
    region = torch.zeros(1, 256, 256, dtype=torch.uint8)
    orange = torch.zeros(1, 16, 128, 128)
    orange[:, :4], orange[:, 4:12], orange[:, 12:] = 3, -1, 9
    shades = []
    for kind in (EYE, MOUTH):
        region[0, 100:156, 100:156] = kind
        made, _ = compose(grey, region, orange)
        shades.append(float(made[0, 0, 128, 128] - made[0, 1, 128, 128]))
    assert shades[0] < 0.05 < 0.5 < shades[1]


def test_the_dark_of_an_open_mouth_hides_the_photo_grain_and_all(model, portrait, monkeypatch):
    red = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 256, 256)
    share = torch.zeros(1, 1, 256, 256)
    share[0, 0, 120:136, 120:136] = 1
    plain = render(model, portrait, mend=refiner()).image.astype(int)
    monkeypatch.setattr("vaegan.render.warp.teeth_kept", lambda field, lips: (field, red, share))
    image = render(model, portrait, mend=refiner()).image.astype(int)
    x, y, side = mesh_box(portrait.mesh)
    within, beside = round(0.04 * side), round(0.1 * side)
    inner = image[round(y) - within : round(y) + within, round(x) - within : round(x) + within]
    assert np.abs(inner - [128, 0, 0]).max() <= 1
    image[round(y) - beside : round(y) + beside, round(x) - beside : round(x) + beside] = 0
    plain[round(y) - beside : round(y) + beside, round(x) - beside : round(x) + beside] = 0
    assert np.array_equal(image, plain)


def test_lips_and_beards_take_on_no_teeth():
    region = torch.ones(1, 256, 256, dtype=torch.uint8)  # all of it face
    region[:, 150:170, 100:150] = MOUTH
    white = torch.cat([torch.full((1, 16, 128, 128), 9.0)], 1)
    refined, mask = compose(torch.full((1, 3, 256, 256), 0.4), region, white)
    assert refined[0, :, 160, 125].min() > 0.9
    assert refined[0, :, 184, 125].max() < 0.41 and mask[0, 0, 184, 125] > 0.1


def test_what_is_painted_is_the_same_where_only_that_is_looked_at():
    region = torch.ones(1, 256, 256, dtype=torch.uint8)
    region[:, :, :20] = 0
    region[:, 150:170, 100:150], region[:, 90:97, 30:52] = MOUTH, EYE
    draw = torch.Generator().manual_seed(0)
    warped, outputs = torch.rand(1, 3, 256, 256, generator=draw), torch.randn(1, 16, 128, 128, generator=draw)
    whole, mask = compose(warped, region, outputs)
    rows, columns = where_painted(region[0])
    assert (rows.stop - rows.start) * (columns.stop - columns.start) < 256 * 256 / 2
    small = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
    made, its_mask = compose(warped[..., rows, columns], region[:, rows, columns], outputs[..., small[0], small[1]])
    assert torch.equal(its_mask, mask[..., rows, columns]) and (mask > 0).sum() == (its_mask > 0).sum() > 1000
    assert torch.equal(made, whole[..., rows, columns])


def test_the_head_goes_where_the_driver_goes(model, portrait):
    x, y, _ = mesh_box(portrait.mesh)
    size = portrait.crop.side / model.framing.scale
    place = np.array([[0.2, -0.1, 0.0, 0.0]], np.float32)
    image = render(model, portrait, place=place).image
    there = (round(x + 0.2 * size), round(y - 0.1 * size))
    patch = np.s_[there[1] - 20 : there[1] + 20, there[0] - 20 : there[0] + 20]
    was = np.s_[round(y) - 20 : round(y) + 20, round(x) - 20 : round(x) + 20]
    assert np.abs(image[patch].astype(int) - portrait.image[was]).mean() < 6
    assert np.abs(image[was].astype(int) - portrait.image[was]).mean() > 8


def test_the_photo_keeps_its_sharpness_at_its_own_resolution(model, portrait):
    place = np.array([[0.013, 0.007, 0.01, 0.01]], np.float32)
    image = render(model, portrait, place=place).image
    x, y, side = map(round, mesh_box(portrait.mesh))
    face = np.s_[y - side // 3 : y + side // 3, x - side // 3 : x + side // 3]

    def sharpness(picture):
        return cv2.Laplacian(cv2.cvtColor(picture[face], cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()

    assert sharpness(image) > 0.75 * sharpness(portrait.image)


def test_crops_show_the_same_in_either_view(model, portrait):
    deltas, place = np.full((1, 8), 1.0, np.float32), np.array([[0.05, 0.0, 0.0, 0.1]], np.float32)
    full = render(model, portrait, 1.0, place, refiner(0.3)).crop.astype(int)
    alone = build_renderer("warp", model, portrait, 256, None, None)
    alone.refiner = refiner(0.3)
    crop = alone.render(deltas, place)[0].crop.astype(int)
    assert full.shape == crop.shape == (256, 256, 3)
    assert np.abs(full - crop)[40:-40, 40:-40].mean() < 4


def test_a_face_smaller_than_the_view_and_at_the_edge_of_the_photo_works(model, portrait):
    x, y, side = mesh_box(portrait.mesh)
    image = portrait.image[: round(y + 0.55 * side), : round(x + 0.55 * side)]
    small = cv2.resize(image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    edge = read_portrait(small, model, FaceTracker("own"))
    frame = render(model, edge, 1.0, np.array([[0.5, 0.5, 0.2, 0.3]], np.float32), refiner())
    assert frame.image.shape == (small.shape[0] // 2 * 2, small.shape[1] // 2 * 2, 3)


def test_a_head_that_rises_leaves_the_lower_edge_of_the_photo_where_it_is(model, portrait):
    y, side = mesh_box(portrait.mesh)[1:]
    bust = read_portrait(portrait.image[: round(y + 0.8 * side)], model, FaceTracker("own"))
    image = render(model, bust, place=np.array([[0.0, -0.3, 0.0, 0.0]], np.float32)).image
    still = bust.image[: image.shape[0], : image.shape[1]].astype(int)
    change = np.abs(image - still).mean((1, 2))
    assert change[-2:].max() < 3 < change[round(y)]


def test_a_crop_ends_where_the_photo_ends_below_the_chin(model, portrait):
    y, side = mesh_box(portrait.mesh)[1:]
    bust = read_portrait(portrait.image[: round(y + 0.6 * side)], model, FaceTracker("own"))
    alone = build_renderer("warp", model, bust, 256, None, None)
    assert alone.shown.side == pytest.approx(1.6 * side, rel=0.05)
    deltas, place = np.full((1, 8), 1.0, np.float32), np.array([[0.05, 0.0, 0.0, 0.1]], np.float32)
    crop = alone.render(deltas, place)[0].image.astype(int)
    assert (np.abs(np.diff(crop[-60:], axis=0)).mean((1, 2)) > 0.5).all()  # no row that is the one before it
    full = render(model, bust, 1.0, place).crop.astype(int)
    assert np.abs(full - crop)[40:-40, 40:-40].mean() < 4


def test_a_model_without_heads_is_refused(tmp_path, portrait):
    with pytest.raises(UserError, match="decode"):
        build_renderer("warp", load_model(save_tiny_model(tmp_path / "plain")), portrait, 256)


def test_the_view_full_pastes_what_was_decoded_where_the_face_is(model, portrait):
    view = FullView(portrait.image, portrait.crop, model.framing.scale)
    shown = view.show(portrait.picture(256), REST[0]).astype(int)
    assert np.abs(shown - view.image).mean() < 2
    red = np.zeros((256, 256, 3), np.uint8)
    moved = view.show(red, np.array([0.2, 0.0, 0.0, 0.0], np.float32))
    x = portrait.crop.cx + 0.2 * portrait.crop.side / model.framing.scale
    assert moved[round(portrait.crop.cy), round(x)].max() == 0
