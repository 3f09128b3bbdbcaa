"""Pictures in and out through Pillow: named formats only, bounded, upright, always uint8 RGB."""

import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from vaegan.errors import UserError
from vaegan.media.files import VIDEO_ENDINGS, atomic_path, input_file, reason
from vaegan.media.statement import picture_options

READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "PPM")
_WRITE_FORMATS = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95, "method": 2}),  # half the time of the default 4, and no larger on faces
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
}
IMAGE_SUFFIXES = set(_WRITE_FORMATS)
READ_SUFFIXES = IMAGE_SUFFIXES | {".jfif", ".gif", ".ppm", ".pgm", ".avif", ".heic", ".heif", ".hif"}
# Files of these brands need the package pillow-heif; AVIF looks much the same but is read by Pillow.
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_ANIMATED = {"PNG", "WEBP", "AVIF"}  # several pictures in a TIFF or a camera's JPEG are pages, not frames
# Where Pillow warns of a decompression bomb (a quarter of a GB as RGB), we stop.
MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
_HEADER = 4096  # bytes in which a photo says what its colours are
_INTENT, _FLAGS = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
# What Pillow's decoders raise on damaged or hostile bytes.
_DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError),
    *(OverflowError, MemoryError, RuntimeError, struct.error, zlib.error),
)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a picture -> uint8 (H, W, 3) RGB, upright by its EXIF orientation.

    Grey, palette, CMYK, 16-bit and float pictures become 8-bit RGB; an embedded colour profile is converted to sRGB;
    transparent pixels lie on white; of a picture with several frames the first is taken.

    Raises:
        UserError: the file is missing, a folder, empty, not a picture that we read (HEIC without the package
            pillow-heif), damaged, or has too many pixels.
    """
    return _decode(input_file(path, "a picture"), str(path))


def decode_image(data: bytes, name: str = "picture") -> np.ndarray:
    """The same from the bytes of a file; `name` is used in messages."""
    return _decode(io.BytesIO(data), name)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Width and height in px of a picture file, upright by its EXIF orientation, without decoding its pixels.

    Raises:
        UserError: as `read_image`.
    """
    with opened_picture(input_file(path, "a picture"), str(path)) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def image_info(path: str | os.PathLike) -> dict:
    """What a picture file holds beside its pixels, by Pillow's names: comment, xmp, text chunks.

    Raises:
        UserError: as `read_image`.
    """
    with opened_picture(input_file(path, "a picture"), str(path)) as image:
        image.load()  # text may come after the pixels
        return {**image.info, **getattr(image, "text", {})}


def image_hdr(path: str | os.PathLike) -> str:
    """What kind of high dynamic range a photo is of, "PQ" or "HLG"; "" where it is of the standard one.

    Raises:
        UserError: as `read_image`.
    """
    source = input_file(path, "a picture")
    with opened_picture(source, str(path)) as image:
        return "" if "icc_profile" in image.info else {16: "PQ", 18: "HLG"}.get(_code_points(image, source)[1], "")


def write_image(path: str | os.PathLike, image: np.ndarray, comment: str | None = None) -> None:
    """Write uint8 (H, W, 3) RGB to `path`, whole or not at all; the ending says the format (see IMAGE_SUFFIXES).

    comment: what the file is to say of itself, see `vaegan.media.statement`

    Raises:
        UserError: the ending is not known, or the file cannot be written there.
    """
    suffix = Path(path).suffix.lower()
    data = encode_image(image, suffix, str(path), comment)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encode_image(
    image: np.ndarray,
    suffix: str = ".png",
    name: str = "picture",
    comment: str | None = None,
    quality: int | None = None,
) -> bytes:
    """The bytes of a picture file of the format that `suffix` says; `image`: uint8 (H, W, 3) RGB.

    quality: 1 to 100 of a JPEG that is looked at once; None: one that is kept

    Raises:
        UserError: the ending is not known, or the format cannot hold a picture of this size.
    """
    if suffix not in _WRITE_FORMATS:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(
            f"{name}: do not know how to write {suffix or 'a name without an ending'} pictures; use {known}"
        )
    form, options = _WRITE_FORMATS[suffix]
    if quality is not None:
        options = {"quality": quality}
    if comment is not None:
        options = options | picture_options(form, comment)
    picture, buffer = Image.fromarray(rgb_array(image)), io.BytesIO()
    try:
        picture.save(buffer, form, **options)
    except (OSError, ValueError) as error:
        height, width = image.shape[:2]
        raise UserError(f"{name}: {form} cannot hold {width}x{height} px ({reason(error)}); use .png") from error
    return buffer.getvalue()


def rgb_array(image: np.ndarray) -> np.ndarray:
    """`image` itself, C-contiguous. Raises ValueError unless it is uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    return np.ascontiguousarray(image)


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order (frame2 before frame10); other and hidden files are left out.

    Raises:
        UserError: there is none.
    """

    def natural(file: Path) -> list:
        parts = re.split(r"(\d+)", file.name.lower())
        return [int(part) if index % 2 else part for index, part in enumerate(parts)]

    files = [f for f in folder.iterdir() if f.suffix.lower() in READ_SUFFIXES and not f.name.startswith(".")]
    if not files:
        raise UserError(f"{folder} holds no pictures ({', '.join(sorted(READ_SUFFIXES))}); name a folder of frames")
    return sorted(files, key=natural)


def picture_frames(path: str | os.PathLike) -> int | None:
    """How many frames the picture of a file shows in turn, 1 where it stands still.

    None where it is no picture, or a GIF, which video libraries read, too.

    Raises:
        UserError: as `read_image`, for what is a picture.
    """
    try:
        with opened_picture(input_file(path, "a video"), str(path)) as image:
            if image.format == "GIF":
                return None
            return image.n_frames if image.format in _ANIMATED else 1
    except _NoPictureError:
        return None


@contextmanager
def opened_picture(source: Path | io.BytesIO, name: str) -> Iterator[Image.Image]:
    """The picture with its header read and checked; errors inside the block count as damage of the picture."""
    try:
        formats = ("HEIF",) if _is_heif(source, name) else READ_FORMATS
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(source, formats=formats)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombWarning
            yield image
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels; scale it down first") from error
    except Image.UnidentifiedImageError as error:
        raise _NoPictureError(_no_picture(name)) from error
    except _DECODE_ERRORS as error:
        raise UserError(f"{name} is a damaged picture ({reason(error)}); copy or export it again") from error


class _NoPictureError(UserError):
    """What Pillow takes for no picture at all."""


def _no_picture(name: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix == ".motion":
        return f"{name} is a motion, where a picture is expected: it moves a photo, as --driver"
    if suffix in VIDEO_ENDINGS:
        return f"{name} is a video, where a picture is expected: save one of its frames as PNG or JPEG"
    known = ", ".join((*READ_FORMATS, "HEIC"))
    return f"{name} is not a picture that can be read ({known}); convert it to PNG or JPEG"


def _is_heif(source: Path | io.BytesIO, name: str) -> bool:
    """Whether this is a HEIC photo, for which Pillow is made ready. Raises UserError where pillow-heif is missing."""
    start = _head(source, 12)
    if start[4:8] != b"ftyp" or start[8:] not in _HEIF_BRANDS:
        return False
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise UserError(f"{name} is a HEIC photo: pip install 'vaegan[heif]', or convert it to JPEG") from error
    register_heif_opener(thumbnails=False)
    return True


def _head(source: Path | io.BytesIO, count: int) -> bytes:
    if isinstance(source, io.BytesIO):
        return bytes(source.getbuffer()[:count])
    with source.open("rb") as file:
        return file.read(count)


def _decode(source: Path | io.BytesIO, name: str) -> np.ndarray:
    with opened_picture(source, name) as image:
        image.load()
        picture, meaning = picture_array(image), _code_points(image, source)
    if meaning == (1, 13) or "icc_profile" in image.info:
        return picture
    from vaegan.media.frames import standard_range  # needs PyAV, which training on packed parts does without

    return standard_range(picture, *meaning)


def _code_points(image: Image.Image, source: Path | io.BytesIO) -> tuple[int, int]:
    """Primaries and transfer function of a photo as ITU-T H.273 numbers them; (1, 13), sRGB, where it does not say."""
    if image.format == "HEIF":
        said = image.info.get("nclx_profile") or {}
        return said.get("color_primaries", 1), said.get("transfer_characteristics", 13)
    if image.format == "AVIF" and (found := re.search(rb"colrnclx(....)", _head(source, _HEADER), re.DOTALL)):
        return struct.unpack(">HH", found[1])
    if image.format == "PNG" and (found := re.search(rb"\0\0\0\x04cICP(..)", _head(source, _HEADER), re.DOTALL)):
        return struct.unpack("BB", found[1])
    return 1, 13


def picture_array(image: Image.Image) -> np.ndarray:
    """A picture of Pillow's, or the frame it stands at -> uint8 (H, W, 3) RGB, upright, in sRGB, on white."""
    return np.array(_rgb(_in_srgb(ImageOps.exif_transpose(image))))


def _in_srgb(image: Image.Image) -> Image.Image:
    """The picture with the colours that its embedded profile means; as it is without one, or with one that is broken.

    Transparency is kept; 16-bit and float pictures are grey, and keep their values.
    """
    data = image.info.get("icc_profile")
    if not data or image.mode == "F" or image.mode.startswith("I"):
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image
        if mode != "RGB" and image.mode not in {"L": ("1", "L", "LA"), "CMYK": ("CMYK",)}[mode]:
            return image  # browsers, too, leave out a profile of another kind of picture
        clear = image.convert("RGBA") if image.has_transparency_data else None
        meant = ImageCms.profileToProfile(
            (clear or image).convert(mode), profile, ImageCms.createProfile("sRGB"), _INTENT, "RGB", flags=_FLAGS
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
        return image
    if clear is not None:
        meant.putalpha(clear.getchannel("A"))
    return meant


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float32)
        # Integers are 16-bit (PNG, TIFF); floats count from 0 to 1 unless they go beyond it.
        top = 1.0 if image.mode == "F" and np.nanmax(values) <= 1.0 else 255.0 if image.mode == "F" else 65535.0
        grey = np.nan_to_num(values / top).clip(0, 1) * 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
