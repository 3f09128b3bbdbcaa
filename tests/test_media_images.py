"""Pictures read and written: every kind becomes upright uint8 RGB, and unfit files are told in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vaegan.errors import UserError
from vaegan.media import decode_image, encode_image, image_size, read_image, write_image

RAMP = np.linspace(0, 255, 40, dtype=np.uint8)[None].repeat(20, 0)
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)], axis=2)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".PNG"])
def test_written_pictures_are_read_back(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    write_image(path, COLOUR)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == (20, 40, 3) and image.flags.writeable
    assert np.abs(image.astype(int) - COLOUR).max() <= (12 if suffix in (".jpg", ".jpeg", ".webp") else 0)
    assert image_size(path) == (40, 20)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert np.array_equal(decode_image(encode_image(COLOUR)), COLOUR)


def test_every_kind_of_pixels_becomes_rgb(tmp_path):
    rgba = np.dstack([COLOUR, np.where(RAMP > 127, 255, 0).astype(np.uint8)])
    grey = np.stack([RAMP] * 3, axis=2)
    white_left = np.where(rgba[..., 3:] > 0, COLOUR, 255)
    sixteen = RAMP.astype(np.uint16) * 257
    cases = {
        "grey.png": (Image.fromarray(RAMP), grey),
        "sixteen.png": (Image.fromarray(sixteen), grey),
        "sixteen.tif": (Image.fromarray(sixteen), grey),
        "float.tif": (Image.fromarray(RAMP.astype(np.float32) / 255), grey),
        "float255.tif": (Image.fromarray(RAMP.astype(np.float32)), grey),
        "rgba.png": (Image.fromarray(rgba), white_left),
        "rgba.webp": (Image.fromarray(rgba), None),
        "la.png": (Image.fromarray(rgba).convert("LA"), None),
        "cmyk.jpg": (Image.fromarray(COLOUR).convert("CMYK"), COLOUR),
        "cmyk.tif": (Image.fromarray(COLOUR).convert("CMYK"), COLOUR),
        "palette.png": (Image.fromarray(grey).quantize(64), grey),
        "palette.gif": (Image.fromarray(grey).quantize(256), grey),
        "bits.png": (Image.fromarray(RAMP > 127), np.where(grey > 127, 255, 0)),
        "ycc.jpg": (Image.fromarray(COLOUR), COLOUR),
        "ppm.ppm": (Image.fromarray(COLOUR), COLOUR),
    }
    for name, (picture, wanted) in cases.items():
        picture.save(tmp_path / name)
        image = read_image(tmp_path / name)
        assert image.dtype == np.uint8 and image.shape == (20, 40, 3), name
        if wanted is not None:
            assert np.abs(image.astype(int) - wanted).max() <= 14, name
    transparent = Image.fromarray(RAMP).quantize(8)
    transparent.info["transparency"] = transparent.getpixel((0, 0))
    transparent.save(tmp_path / "transparent.png")
    assert (read_image(tmp_path / "transparent.png")[0, 0] == 255).all(), "transparent pixels lie on white"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright_by_their_exif_orientation(tmp_path, orientation):
    stored = {
        1: COLOUR,
        2: COLOUR[:, ::-1],
        3: COLOUR[::-1, ::-1],
        4: COLOUR[::-1],
        5: COLOUR.swapaxes(0, 1),
        6: np.rot90(COLOUR, 1),
        7: COLOUR[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(COLOUR, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored[orientation])).save(path, exif=exif)
    assert np.array_equal(read_image(path), COLOUR)
    assert image_size(path) == (40, 20)


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be width x height."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_what_is_no_picture_is_one_clear_line(tmp_path):
    whole = encode_image(COLOUR, ".png")
    cases = {
        "missing.png": (None, "no such file"),
        "empty.jpg": (b"", "zero bytes"),
        "text.jpg": (b"this is not a picture\n" * 20, "is not a picture"),
        "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        "eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        "cut.png": (whole[: len(whole) // 2], "damaged"),
        "cut.jpg": (encode_image(COLOUR, ".jpg")[:-60], "damaged"),
        "bomb.png": (png(20_000, 20_000), "million pixels"),
        "large.png": (png(10_000, 10_000), "million pixels"),
        "huge.png": (png(2**31 - 1, 2**31 - 1), "million pixels"),
    }
    for name, (data, words) in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        for read in (read_image, image_size):
            if read is image_size and words == "damaged":
                continue  # its header is whole
            with pytest.raises(UserError, match=words) as told:
                read(tmp_path / name)
            assert name in str(told.value) and "\n" not in str(told.value)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        read_image(tmp_path / "folder.png")


def test_damage_anywhere_in_a_file_never_escapes_as_another_error():
    rng = np.random.default_rng(3)
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        whole = encode_image(COLOUR, suffix)
        for _ in range(150):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), 400), 4):
                data[at] = rng.integers(256)
            try:
                image = decode_image(bytes(data))
            except UserError as error:
                assert "\n" not in str(error)
            else:
                assert image.dtype == np.uint8 and image.ndim == 3


def test_pictures_that_cannot_be_written_are_one_clear_line(tmp_path):
    for name in ("picture.xyz", "picture", "picture.mp4"):
        with pytest.raises(UserError, match="do not know how to write"):
            write_image(tmp_path / name, COLOUR)
    with pytest.raises(UserError, match="no folder"):
        write_image(tmp_path / "nowhere" / "picture.png", COLOUR)
    with pytest.raises(UserError, match="cannot hold"):
        write_image(tmp_path / "long.webp", np.zeros((2, 20_000, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "float.png", COLOUR / 255.0)
    assert not list(tmp_path.iterdir())


def test_only_the_first_frame_of_an_animation_is_read():
    buffer = io.BytesIO()
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (50, 200)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decode_image(buffer.getvalue()).astype(int) - 50).max() < 4
