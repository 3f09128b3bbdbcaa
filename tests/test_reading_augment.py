"""Augmentation and flow: one draw a clip, other draws for other clips, and nothing that a resumed run would not see."""

import numpy as np
import pytest
import torch
from reading_sets import same_clips, told_clips

from vaegan.data.augment import Augment, AugmentSettings
from vaegan.data.batches import CropBatches
from vaegan.data.clip_batches import ClipBatches, Pairs, Windows
from vaegan.data.flow import dense_flow
from vaegan.errors import UserError

OFF = dict.fromkeys(("rotate", "scale", "shift", "brightness", "contrast", "saturation", "hue", "noise"), 0.0)
STRONG = {"rotate": 20, "scale": 0.2, "shift": 0.1, "brightness": 0.3, "contrast": 0.3, "saturation": 0.5, "hue": 0.2,
          "noise": 0.1}  # fmt: skip


def changes(flip: bool = False, **settings: float) -> Augment:
    return Augment(AugmentSettings(**(OFF | settings)), flip)


def batches(augment: Augment, choose=None, **settings) -> ClipBatches:
    clips = same_clips(6, 8)
    return ClipBatches(clips, 6, choose or Windows(8), shuffle=True, flip=True, seed=4, augment=augment, **settings)


@pytest.mark.parametrize("name", STRONG)
def test_all_frames_of_a_clip_get_one_draw_and_other_clips_others(name):
    plain = torch.from_numpy(same_clips(1, 1).frames[0]).permute(2, 0, 1).float() / 255
    (clips,) = batches(changes(**{name: STRONG[name]}))
    assert clips.shape == (6, 8, 3, 24, 24) and clips.min() >= 0 and clips.max() <= 1
    assert (clips - clips[:, :1]).abs().max() < 1e-6, "the frames of a clip differ"
    first = clips[:, 0]
    distances = (first[:, None] - first[None]).abs().mean((2, 3, 4))
    assert distances[~torch.eye(6, dtype=bool)].min() > 1e-4, "two clips got the same draw"
    assert (first - plain).abs().mean((1, 2, 3)).min() > 1e-4


def test_both_frames_of_a_pair_get_one_draw():
    pairs = torch.cat(list(batches(changes(flip=True, **STRONG), Pairs(0.04, 0.2))))
    assert pairs.shape[1:] == (2, 3, 24, 24)
    assert (pairs[:, 0] - pairs[:, 1]).abs().max() < 1e-6
    assert len({round(float(pair.mean()), 5) for pair in pairs[:, 0]}) > len(pairs) // 2


def test_flips_turn_whole_clips_about_half_of_them():
    clips = told_clips([4] * 200)
    for augment in (None, changes(flip=True)):
        read = ClipBatches(clips, 200, Windows(4), shuffle=True, flip=True, augment=augment)
        (batch,) = read
        blue_left = batch[:, :, 2, 0, 0]
        assert (blue_left == blue_left[:, :1]).all(), "a clip was mirrored in part"
        assert 0.35 < blue_left[:, 0].mean() < 0.65


def test_draws_depend_on_seed_and_epoch_alone_and_leave_torch_alone():
    def epoch(number: int, seed: int = 4) -> torch.Tensor:
        read = batches(changes(flip=True, **STRONG))
        read.seed = seed
        read.set_epoch(number)
        return torch.cat(list(read))

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = epoch(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(epoch(3), first)
    assert not torch.equal(epoch(4), first) and not torch.equal(epoch(3, seed=5), first)


def test_crops_are_changed_each_by_its_own_draw_and_the_same_after_a_resume():
    crops = same_clips(40, 1).frames

    def epoch(number: int, world: int = 1, rank: int = 0) -> torch.Tensor:
        read = CropBatches(crops, 10, shuffle=True, flip=True, augment=changes(flip=True, **STRONG))
        read.rank, read.world = rank, world
        read.set_epoch(number)
        return torch.cat(list(read))

    first = epoch(2)
    assert len({round(float(crop.sum()), 3) for crop in first}) == 40
    assert torch.equal(epoch(2), first) and not torch.equal(epoch(1), first)
    shares = torch.cat([epoch(2, 2, 0), epoch(2, 2, 1)])
    assert sorted(shares.sum((1, 2, 3)).tolist()) == sorted(first.sum((1, 2, 3)).tolist()), "ranks draw differently"


def test_moved_pictures_have_no_black_corners():
    white = torch.full((2, 3, 32, 32), 0.9)
    augment = changes(rotate=45, scale=0.5, shift=0.5)
    assert all((augment(white, seed) - 0.9).abs().max() < 1e-5 for seed in range(30))


def test_settings_that_make_no_sense_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"data\.augment\.rotate=90 is out of range: use 0 to 45"):
        AugmentSettings(**(OFF | {"rotate": 90}))
    with pytest.raises(UserError, match="noise=-1"):
        AugmentSettings(**(OFF | {"noise": -1}))
    assert not AugmentSettings(**OFF)


def moving_clip() -> torch.Tensor:
    """A textured picture that moves by 2 px to the right and 1 px up, a frame: (4, 3, 64, 64)."""
    coarse = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)[0]
    return torch.stack([large[:, 10 + t : 74 + t, 20 - 2 * t : 84 - 2 * t] for t in range(4)])


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_flow_is_in_px_a_frame_to_the_right_and_down(method):
    flow = dense_flow(moving_clip(), method)
    assert flow.shape == (4, 2, 64, 64)
    inner = flow[:3, :, 16:48, 16:48]
    assert abs(inner[:, 0].median() - 2) < 0.2 and abs(inner[:, 1].median() + 1) < 0.2
    assert (flow[3] == 0).all(), "nothing follows the last frame"


def test_flow_turns_with_a_mirrored_clip_and_does_not_see_the_grain():
    clip = moving_clip()
    turned = next(seed for seed in range(9) if not torch.equal(changes(flip=True)(clip, seed), clip))
    changed = changes(flip=True, noise=0.2)(clip, turned, "dis")
    assert changed.shape == (4, 5, 64, 64)
    assert abs(changed[:3, 3, 16:48, 16:48].median() + 2) < 0.2
    assert torch.equal(changed[:, 3:], dense_flow(clip.flip(3), "dis"))


def test_clips_carry_flow_as_two_more_channels():
    read = ClipBatches(told_clips([6, 6], side=32), 2, Windows(6), shuffle=False, flip=False, flow="dis")
    (batch,) = read
    assert batch.shape == (2, 6, 5, 32, 32)
    assert np.isfinite(batch.numpy()).all()
    with pytest.raises(UserError, match="flow up: choose one of none, dis, farneback"):
        dense_flow(torch.zeros(2, 3, 8, 8), "up")
