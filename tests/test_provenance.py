"""What a written file says of itself: to who sees it, to who reads it, and signed."""

import datetime
import sys

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image
from standin import PoolModel, SquareTracker, film, picture, talking

import vaegan
from vaegan.cli.main import main
from vaegan.errors import UserError
from vaegan.media import VIDEO_SUFFIXES, VideoReader, read_image, write_image
from vaegan.media.label import SHORT, TEXT, Label, _patch
from vaegan.media.provenance import read_manifest, signing, statements
from vaegan.media.statement import TRAINED_MEDIA, statement
from vaegan.media.writer import VideoWriter

NAMES = sorted(f"out{suffix}" for suffix in VIDEO_SUFFIXES)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with a model, a photo and a driver."""
    write_image(tmp_path / "me.png", picture(x=70, y=40))
    film(tmp_path / "clip.mp4", talking(8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    """A private key and the certificates of a signer whom a made-up authority vouches for, in one PEM file."""
    return make_credentials(tmp_path_factory.mktemp("keys") / "signer.pem")


def make_credentials(path, purpose=ExtendedKeyUsageOID.EMAIL_PROTECTION):
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)

    def build(name, public, usage, authority):
        names = [
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "T")])
            for n in (name, "Test Root")
        ]
        return (
            x509.CertificateBuilder(names[1], names[0], public, x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(x509.KeyUsage(*(flag in usage for flag in range(9))), True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )

    root = build("Test Root", root_key.public_key(), {5, 6}, True).sign(root_key, hashes.SHA256())
    leaf = build("Test Signer", key.public_key(), {0}, False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([purpose]), False).sign(root_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + leaf.public_bytes(pem) + root.public_bytes(pem))
    return path


def made(output, **options):
    return vaegan.transfer("me.png", "clip.mp4", output, model=PoolModel(), tracker=SquareTracker(), **options)


def info(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vaegan", "info", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out + said.err


# ---- what can be seen


SIZES = [(64, 64), (36, 64), (40, 40), (256, 256), (768, 256), (1080, 1920), (3840, 2160)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_label_is_small_legible_and_away_from_the_face_at_any_size(width, height):
    grey = np.full((height, width, 3), 150, np.uint8)
    for x, y in ((0.75, 0.75), (0.25, 0.75), (0.25, 0.25), (0.75, 0.25), (0.5, 0.5))[-1 if width > 2000 else 0 :]:
        side = min(width, height) / 3
        face = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 2)) * side + [x * width, y * height]
        label = Label(width, height, [face])
        left, top, right, bottom = label.box
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        tiny = min(width, height) < 64
        assert (right - left) * (bottom - top) < (0.06 * width * height if tiny else max(226, 0.06 * width * height))
        assert min(left, width - right) <= max(5, 0.1 * width) and min(top, height - bottom) <= max(5, 0.1 * height)
        assert not ((face > [left, top]) & (face < [right, bottom])).all(1).any()
        shown = label.draw(grey)
        letters = shown[top:bottom, left:right, 0] > (170 if tiny else 220)
        assert np.ptp(np.flatnonzero(letters.any(1))) + 1 >= (5 if tiny else 6)  # px high
        assert shown[top, left, 0] < 80
        outside = np.ones((height, width), bool)
        outside[top:bottom, left:right] = False
        assert (shown[outside] == 150).all() and (grey == 150).all()


def test_a_label_that_is_too_long_for_the_picture_is_short():
    assert _patch(TEXT, 10).shape[1] > 64 > 3 * _patch(SHORT, 10).shape[1]
    assert np.ptp(Label(64, 64).box[::2]) < 32 < np.ptp(Label(128, 128).box[::2])


def test_the_file_has_the_label_and_what_is_measured_and_animated_has_none(shelf):
    made("out.mp4", no_label=False, storyboard="board.png")
    made("plain.mp4", no_label=True, storyboard="plain.png")
    labelled, plain = (next(iter(VideoReader(name))).image.astype(int) for name in ("out.mp4", "plain.mp4"))
    left, top, right, bottom = Label(256, 256).box
    changed = np.abs(labelled - plain).max(2)
    assert changed[top:bottom, left:right].max() > 60
    assert changed[: top - 8].max() < 30  # what the encoder does
    assert (read_image("board.png") != read_image("plain.png")).any()
    frame = next(vaegan.animate("me.png", "clip.mp4", model=PoolModel(), tracker=SquareTracker()))
    assert np.abs(frame.astype(int) - plain)[top:bottom, left:right].max() < 30


# ---- what can be read


@pytest.mark.parametrize("name", NAMES)
def test_every_written_file_says_that_it_is_synthetic_and_what_made_it(shelf, name):
    made(name, end=0.2)
    model = PoolModel.id
    for text in statements(name):
        assert text.startswith("AI-generated") and vaegan.__version__ in text and model in text
        assert "trainedAlgorithmicMedia" in text
    assert statements(name)


def test_pictures_beside_the_video_say_so_too_and_others_say_nothing(shelf, monkeypatch, capsys):
    for name in ("board.png", "board.webp", "board.jpg", "board.tiff"):
        made("o.mp4", end=0.2, storyboard=name)
        assert statements(name)[0].startswith("AI-generated"), name
    status, said = info(monkeypatch, capsys, "--video", "board.webp")
    assert status == 0 and "AI-generated" in said and "no C2PA manifest" in said
    status, said = info(monkeypatch, capsys, "--video", "me.png")
    assert status == 0 and "nothing of how it was made" in said
    status, said = info(monkeypatch, capsys, "--video", "gone.mp4")
    assert status == 1 and said == "error: gone.mp4: no such file\n"


# ---- what is signed


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.gif", "out.webp", "out"])
def test_a_signed_manifest_says_that_a_trained_model_made_it_and_can_be_verified(shelf, credentials, name):
    assert made(name, sign=credentials, end=0.2).frames == 5
    manifest = read_manifest(name)
    assert manifest.valid and not manifest.trusted and manifest.signer == "Test Signer"
    assert manifest.created == (TRAINED_MEDIA,) and manifest.tool == f"vaegan {vaegan.__version__}"
    if name == "out.webp":
        assert Image.open(name).n_frames == 5
    else:
        assert len(list(VideoReader(name))) == 5
    assert statements(name)
    assert not [file for file in shelf.rglob("*signed*")]


def test_what_was_changed_after_it_was_signed_is_told(shelf, credentials, monkeypatch, capsys):
    made("out.mp4", sign=credentials)
    data = bytearray((shelf / "out.mp4").read_bytes())
    status, said = info(monkeypatch, capsys, "--video", "out.mp4")
    assert status == 0 and "whole; by Test Signer" in said and "created  trainedAlgorithmicMedia" in said
    data[data.rindex(b"mdat") + 1000] ^= 255
    (shelf / "changed.mp4").write_bytes(data)
    status, said = info(monkeypatch, capsys, "--video", "changed.mp4")
    assert status == 0 and "BROKEN" in said


def test_what_cannot_sign_is_told_before_the_work_and_in_one_line(shelf, credentials, monkeypatch):
    text = credentials.read_text()
    chain = text[text.index("-----BEGIN CERT") :]
    (shelf / "chain.pem").write_text(chain)
    (shelf / "strange.pem").write_text(
        make_credentials(shelf / "other.pem").read_text().split("-----BEGIN CERT")[0] + chain
    )
    make_credentials(shelf / "server.pem", ExtendedKeyUsageOID.SERVER_AUTH)
    cases = {
        ("out.mp4", "chain.pem"): "one private key and its certificates",
        ("out.mp4", "me.png"): "one private key and its certificates",
        ("out.mp4", "none.pem"): "no such file",
        ("out.mp4", "strange.pem"): "cannot sign",
        ("out.mp4", "server.pem"): "cannot sign",
        ("out.mkv", credentials): "no place for a signed manifest",
        ("out.webm", credentials): "no place for a signed manifest",
    }
    before = sorted(shelf.iterdir())
    for (output, pem), words in cases.items():
        with pytest.raises(UserError, match=words) as told:
            made(output, sign=pem)
        assert "\n" not in str(told.value), told.value
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(UserError, match=r"pip install 'vaegan\[provenance\]'"):
        made("out.mp4", sign=credentials)
    assert sorted(shelf.iterdir()) == before


def test_a_signature_that_fails_leaves_nothing(shelf, credentials):
    sign = signing(credentials, "out.mp4", statement("tiny"))

    def fail(path):
        path.write_bytes(b"no video any more")
        sign(path)

    before = sorted(shelf.iterdir())
    with pytest.raises(UserError, match="cannot sign"), VideoWriter("out.mp4", 64, 64, 25, sign=fail) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    assert sorted(shelf.iterdir()) == before
