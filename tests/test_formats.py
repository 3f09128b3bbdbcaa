"""What phones, cameras and screen recorders write, read as their plain siblings are; each file is made here."""

import struct
import sys
import warnings
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from media_clips import make_clip, number_of, numbered
from PIL import Image

from vaegan.data.prepare.sources import plain
from vaegan.errors import UserError
from vaegan.media import VideoReader, image_size, read_image, write_image
from vaegan.media.images import image_hdr
from vaegan.media.timing import moving_rate
from vaegan.samples import find_photo

COLOURS = [(200, 60, 50), (60, 190, 80), (70, 80, 200), (225, 180, 150), (30, 25, 20), (250, 250, 250)]
PATCHES = np.concatenate([np.full((32, 16, 3), colour, np.uint8) for colour in COLOURS], axis=1)


def off(image, wanted) -> float:
    """Mean difference in levels of the inner parts of the patches."""
    inner = np.arange(image.shape[1]) % 16
    keep = (inner > 4) & (inner < 11)
    return float(np.abs(image[8:24, keep].astype(int) - np.asarray(wanted)[8:24, keep]).mean())


# ---- pictures


@pytest.mark.parametrize("suffix", [".avif", ".heic"])
def test_photos_of_phones_are_read_upright(tmp_path, suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"phone{suffix}"
    Image.fromarray(np.ascontiguousarray(np.rot90(PATCHES))).save(path, quality=95, exif=exif.tobytes())
    assert image_size(path) == (96, 32)
    assert off(read_image(path), PATCHES) < 4
    renamed = path.rename(tmp_path / "phone.jpg")
    assert off(read_image(renamed), PATCHES) < 4, "what a file is stands in it, not in its name"


def test_a_heic_photo_without_the_package_for_it_names_the_package(tmp_path, monkeypatch):
    pytest.importorskip("pillow_heif").register_heif_opener()
    Image.fromarray(PATCHES).save(tmp_path / "phone.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r"phone.heic is a HEIC photo: pip install 'vaegan\[heif\]'"):
        read_image(tmp_path / "phone.heic")


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile, version 2.4, of these tags."""
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(78), **tags}
    at, entries, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        entries += name + struct.pack(">II", at + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    head = b"\x02\x40\0\0mntr" + space + connection + bytes(12) + b"acsp" + bytes(28) + white
    body = struct.pack(">I", len(tags)) + entries + data
    return struct.pack(">I", 128 + len(body)) + bytes(4) + head.ljust(120, b"\0") + body


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


ADOBE = [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]]
"""XYZ (D50) of the primaries of Adobe RGB (1998)."""
WHITE = b"wtpt", xyz(0.9642, 1, 0.8249)


def adobe_rgb() -> bytes:
    primaries = {name: xyz(*values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE, strict=True)}
    curves = {name: curve(563 / 256) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return icc(b"RGB ", {WHITE[0]: WHITE[1], **primaries, **curves})


def as_adobe(image: np.ndarray) -> np.ndarray:
    """The same colours (sRGB) in the numbers of Adobe RGB."""
    linear = np.where(image / 255 <= 0.04045, image / 255 / 12.92, ((image / 255 + 0.055) / 1.055) ** 2.4)
    srgb = np.array(
        [[0.4360747, 0.2225045, 0.0139322], [0.3850649, 0.7168786, 0.0971045], [0.1430804, 0.0606169, 0.7141733]]
    )
    adobe = (linear @ srgb @ np.linalg.inv(ADOBE)).clip(0, 1)
    return np.rint(adobe ** (256 / 563) * 255).astype(np.uint8)


def test_embedded_colour_profiles_are_converted_to_srgb(tmp_path):
    stored, profile = Image.fromarray(as_adobe(PATCHES)), adobe_rgb()
    assert np.abs(np.asarray(stored).astype(int) - PATCHES).max() > 20
    clear = stored.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(np.arange(96)[None] < 48, 255, 0).astype(np.uint8).repeat(32, 0)))
    half = np.where(np.arange(96)[None, :, None] < 48, PATCHES, 255)
    grey = np.full((32, 96), 128, np.uint8)
    for name, picture, wanted in (
        ("rgb.png", stored, PATCHES),
        ("rgb.jpg", stored, PATCHES),
        ("rgb.tif", stored, PATCHES),
        ("rgb.webp", stored, PATCHES),
        ("rgb.avif", stored, PATCHES),
        ("palette.png", stored.quantize(16), PATCHES),
        ("rgba.png", clear, half),
        ("grey.jpg", Image.fromarray(grey), np.full((32, 96, 3), 127)),
    ):
        picture.save(tmp_path / name, icc_profile=profile)
        assert off(read_image(tmp_path / name), wanted) < 3, name
    linear = icc(b"GRAY", {b"wtpt": WHITE[1], b"kTRC": curve(1)})
    Image.fromarray(grey).save(tmp_path / "linear.png", icc_profile=linear)
    assert off(read_image(tmp_path / "linear.png"), np.full((32, 96, 3), 188)) < 2


def test_hdr_photos_look_as_their_standard_siblings(tmp_path):
    stored = np.rint(pq((PATCHES / 255) ** 2.2 @ TO_2020.T * 203) * 255).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "hdr.avif", quality=98, subsampling="4:4:4")
    Image.fromarray(stored).save(tmp_path / "hdr.png")
    data = (tmp_path / "hdr.avif").read_bytes()
    at = data.index(b"colrnclx") + 8
    (tmp_path / "hdr.avif").write_bytes(data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :])
    data = (tmp_path / "hdr.png").read_bytes()
    chunk = b"cICP" + bytes([9, 16, 0, 1])
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "hdr.png").write_bytes(data[:33] + chunk + data[33:])
    for name in ("hdr.avif", "hdr.png"):
        assert off(read_image(tmp_path / name), PATCHES) < 5, name
        assert image_hdr(tmp_path / name) == "PQ", name
    assert image_hdr(find_photo("sample")) == ""


def test_a_cmyk_picture_is_converted_by_its_own_profile(tmp_path):
    ramp = bytes(range(256))
    corners = [[round(255 * (1 - k / 255) * 100 / 100), 128, 128] for k in (0, 255)]  # only black counts: Lab
    grid = b"".join(bytes(corners[black]) for _ in range(8) for black in (0, 1))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    profile = icc(b"CMYK", {b"wtpt": WHITE[1], b"A2B0": table + ramp * 4 + grid + ramp * 3}, b"Lab ")
    inks = Image.merge("CMYK", [Image.new("L", (96, 32), ink) for ink in (90, 10, 200, 0)])
    for name, given, wanted in (
        ("own.jpg", profile, 255),
        ("own.tif", profile, 255),
        ("none.jpg", None, (165, 245, 55)),
    ):
        inks.save(tmp_path / name, icc_profile=given)
        assert off(read_image(tmp_path / name), np.full((32, 96, 3), wanted)) < 4, name


def test_a_profile_that_does_not_fit_or_is_broken_is_left_out(tmp_path):
    grey = icc(b"GRAY", {b"wtpt": WHITE[1], b"kTRC": curve(1)})
    for profile in (b"no profile at all", adobe_rgb()[:200], grey):
        Image.fromarray(PATCHES).save(tmp_path / "odd.png", icc_profile=profile)
        assert np.array_equal(read_image(tmp_path / "odd.png"), PATCHES)


def test_prepare_takes_photos_of_phones(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    for name in ("one.avif", "two.HEIC", "three.heic"):
        Image.fromarray(PATCHES).save(tmp_path / name, "AVIF" if name == "two.HEIC" else None)
    listing = plain(tmp_path, "phone", "auto")
    assert [item.file for item in listing.photos] == ["one.avif", "three.heic", "two.HEIC"]
    assert off(read_image(tmp_path / "two.HEIC"), PATCHES) < 6


# ---- animations


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".gif"])
def test_animated_pictures_are_read_as_videos(tmp_path, suffix):
    path = tmp_path / f"moving{suffix}"
    frames = [Image.fromarray(numbered(number)) for number in range(12)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40] * 11 + [200])
    reader = VideoReader(path)
    assert (reader.width, reader.height, reader.has_audio) == (64, 64, False)
    assert float(reader.rate) == pytest.approx(25) if suffix != ".gif" else reader.rate > 18
    shown = list(reader)
    assert [number_of(frame.image) for frame in shown] == list(range(12))
    assert np.allclose([frame.time for frame in shown], np.arange(12) / 25, atol=1e-3)
    part = [number_of(frame.image) for frame in VideoReader(path, start=0.2, end=0.4, fps=25)]
    assert part == [5, 6, 7, 8, 9]


def test_a_picture_that_stands_still_is_no_video(tmp_path):
    pages = [Image.fromarray(numbered(number)) for number in range(2)]
    for name in ("still.jpg", "still.png", "still.webp", "still.avif", "still.bmp", "still.mp4.jpg"):
        pages[0].save(tmp_path / name)
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "still.mp4").write_bytes((tmp_path / "still.jpg").read_bytes())
    for path in tmp_path.iterdir():
        with pytest.raises(UserError, match="is a picture, which does not move; name a video") as told:
            VideoReader(path)
        assert "copy it again" not in str(told.value)


def test_folders_of_photos_of_phones_are_videos_too(tmp_path):
    for number in range(3):
        Image.fromarray(numbered(number)).save(tmp_path / f"{number}.avif", quality=95)
    assert [number_of(frame.image) for frame in VideoReader(tmp_path)] == [0, 1, 2]


# ---- colours of videos


def film(path, encoded: np.ndarray, pix_fmt: str, tags: tuple[int, int, int], matrix: tuple[float, float]) -> None:
    """A clip of two frames of R'G'B' float (32, 96, 3) in 0..1, as limited Y'CbCr of these tags and (Kr, Kb)."""
    red, blue = matrix
    luma = encoded @ [red, 1 - red - blue, blue]
    chroma = [(encoded[..., 2] - luma) / (2 - 2 * blue), (encoded[..., 0] - luma) / (2 - 2 * red)]
    ten = pix_fmt.endswith("10le")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 96, 32, pix_fmt
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        context.color_range = 1
        for _ in range(2):
            frame = av.VideoFrame(96, 32, pix_fmt)
            frame.colorspace, frame.color_range = tags[2], 1
            halves = [plane.reshape(16, 2, 48, 2).mean((1, 3)) for plane in chroma]
            for plane, values in zip(frame.planes, [16 + 219 * luma, *(128 + 224 * c for c in halves)], strict=True):
                values = np.rint(values * (4 if ten else 1)).astype(np.uint16 if ten else np.uint8)
                line = np.zeros((len(values), plane.line_size // values.itemsize), values.dtype)
                line[:, : values.shape[1]] = values
                plane.update(line.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


BT709, BT2020 = (0.2126, 0.0722), (0.2627, 0.0593)
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084."""
    power = (nits / 10_000).clip(0, 1) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    """ARIB STD-B67 for a display of 1000 nits: the inverse of its rendering, then its curve."""
    light = nits / 1000
    light = light * np.maximum(light @ [0.2627, 0.678, 0.0593], 1e-9)[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), a * np.log(np.maximum(12 * light - b, 1e-9)) + c)


@pytest.mark.parametrize(("kind", "transfer", "encode"), [("PQ", 16, pq), ("HLG", 18, hlg)])
def test_hdr_looks_as_its_standard_sibling(tmp_path, kind, transfer, encode):
    encoded = encode((PATCHES / 255) ** 2.2 @ TO_2020.T * 203)  # white at 203 nits, ITU-R BT.2408
    film(tmp_path / "hdr.mp4", encoded, "yuv420p10le", (9, transfer, 9), BT2020)
    reader = VideoReader(tmp_path / "hdr.mp4")
    assert reader.hdr == kind
    assert off(next(iter(reader)).image, PATCHES) < 5


def test_ten_bits_of_the_standard_range_are_no_hdr(tmp_path):
    for pix_fmt in ("yuv420p", "yuv420p10le"):
        film(tmp_path / "plain.mp4", PATCHES / 255, pix_fmt, (1, 1, 1), BT709)
        reader = VideoReader(tmp_path / "plain.mp4")
        assert reader.hdr == "" and off(next(iter(reader)).image, PATCHES) < 3


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.mov", "qtrle", "argb"), ("b.mkv", "ffv1", "yuva444p"), ("c.webm", "libvpx-vp9", "yuva420p")],
)
def test_transparent_pixels_of_a_video_lie_on_white(tmp_path, name, codec, pix_fmt):
    alpha = np.where(np.arange(96)[None, :, None] < 48, 255, 0).astype(np.uint8).repeat(32, 0)
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25, bit_rate=2_000_000)
        stream.width, stream.height, stream.pix_fmt = 96, 32, pix_fmt
        frame = av.VideoFrame.from_ndarray(np.dstack([PATCHES, alpha]), format="rgba")
        container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    assert off(next(iter(VideoReader(tmp_path / name))).image, np.where(alpha > 0, PATCHES, 255)) < 4


# ---- fields, sizes and times of videos


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_interlaced_video_is_read_without_its_combs(tmp_path, codec):
    def bar(at: int) -> np.ndarray:
        image = np.full((96, 96, 3), 40, np.uint8)
        image[:, at : at + 24] = 210
        return image

    path = tmp_path / "interlaced.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"x264-params": "bff=1:crf=4"})
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        if codec == "mpeg2video":
            flags = av.codec.context.Flags
            stream.codec_context.flags |= flags.interlaced_dct | flags.interlaced_me
            stream.codec_context.bit_rate = 4_000_000
        for number in range(8):
            woven = bar(8 * number)
            woven[::2] = bar(8 * number + 4)[::2]  # the second field, half a frame later
            container.mux(stream.encode(av.VideoFrame.from_ndarray(woven, format="rgb24")))
        container.mux(stream.encode(None))
    frames = list(VideoReader(path))
    assert np.allclose([frame.time for frame in frames], np.arange(8) / 25, atol=2e-3)
    for number, frame in enumerate(frames):
        rows = frame.image[16:80].astype(int)
        assert np.abs(rows[1:] - rows[:-1]).mean() < 1.5, "no combs"
        assert np.abs(rows - bar(8 * number)[16:80]).mean() < 5
    assert len(list(VideoReader(path, start=0.1, end=0.25))) == 4


def test_odd_sizes_are_kept(tmp_path):
    image = numbered(5, 65, 49)
    for name, codec, pix_fmt in (
        ("a.mkv", "ffv1", "yuv420p"),
        ("b.mp4", "libx264", "yuv444p"),
        ("c.avi", "mjpeg", "yuvj420p"),
    ):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 65, 49, pix_fmt
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        shown = next(iter(VideoReader(tmp_path / name))).image
        assert shown.shape == (49, 65, 3) and number_of(shown) == 5, name


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_a_recording_without_frames_while_nothing_moves_keeps_its_motion(tmp_path, name):
    times = [Fraction(i, 30) for i in range(40)] + [20 + Fraction(i, 30) for i in range(5)]
    reader = VideoReader(make_clip(tmp_path / name, times, rate=30))
    assert reader.rate == 30
    if name != "a.mkv":  # Matroska does not count its frames
        assert reader.mean_rate < 3
    shown = list(VideoReader(tmp_path / name, fps=reader.rate))
    assert [number_of(frame.image) for frame in shown[:40]] == list(range(40))
    assert [number_of(frame.image) for frame in shown[-5:]] == list(range(40, 45)) and len(shown) == 605


def test_the_mean_rate_is_kept_where_frames_only_stutter():
    rng = np.random.default_rng(0)
    stutter = np.cumsum(rng.uniform(0.02, 0.0467, 200))
    dropped = np.cumsum(rng.choice([1 / 30, 2 / 30], 200, p=[0.9, 0.1]))
    for times in (stutter, dropped, [0.0], [], [0.0, 1.0]):
        assert moving_rate(times, Fraction(29)) == 29
    starts_still = [*np.arange(10), *(10 + np.arange(90) / 30)]
    assert moving_rate(starts_still, Fraction(375, 56)) == 30
    assert moving_rate(np.round([i * 1001 / 30000 for i in range(99)] + [20], 3), Fraction(5)) in (
        30,
        Fraction(30000, 1001),
    )
    assert moving_rate([0, 0.1, 0.2, 2.0], Fraction(2)) == 10, "a short animation that rests on its last frame"


def test_sound_that_outlasts_the_picture_is_no_damage_but_a_cut_file_is(tmp_path):
    times = [Fraction(i, 25) for i in range(50)]
    make_clip(tmp_path / "whole.mp4", times, sound="aac")
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(tmp_path / "long.mkv"), "w") as output:
        picture, sound = source.streams.video[0], source.streams.audio[0]
        to_picture, to_sound = output.add_stream_from_template(picture), output.add_stream_from_template(sound)
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream is sound:
                packet.stream = to_sound
                output.mux(packet)
            elif packet.pts * packet.time_base < 1:
                packet.stream = to_picture
                output.mux(packet)
    # Recorders that write while they record leave no length per stream, only one of the longest.
    bare = tmp_path / "bare.mkv"
    bare.write_bytes((tmp_path / "long.mkv").read_bytes().replace(b"DURATION", b"DURAT1ON"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("long.mkv", "bare.mkv"):
            reader = VideoReader(tmp_path / name)
            assert 24 <= len(list(reader)) <= 26 and not reader.truncated
    data = bare.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 4 // 10])
    with pytest.warns(UserWarning, match="is damaged: it ends after"):
        list(VideoReader(tmp_path / "cut.mkv"))


def test_names_too_long_for_the_disk_are_told(tmp_path):
    with pytest.raises(UserError, match="choose another output"):
        write_image(tmp_path / f"{'写' * 120}.png", PATCHES)
