"""`vaegan app`: the page as visitors use it, in a browser."""

import av
import cv2
import numpy as np
import pytest
from page import Server, Visit, browser, chromium

from vaegan.media import VideoReader, VideoWriter, read_image, write_image
from vaegan.samples import find_photo

pytest.importorskip("gradio", reason="the extra `app` is not installed")

RESULT = "#animate-stage video[data-main]"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    chromium()
    pytest.importorskip("playwright")
    started = Server(tmp_path_factory.mktemp("app"))
    yield started
    started.stop()
    assert not started.watched.read_text()  # nothing has left this machine
    assert not [*started.temporary.iterdir()]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A photo and a clip of one second, both of the face that ships."""
    folder = tmp_path_factory.mktemp("files")
    photo = read_image(find_photo("sample"))
    write_image(folder / "me.jpg", photo[:300, 60:420])
    with VideoWriter(folder / "clip.mp4", 256, 256, 12) as writer:
        for t in range(13):
            turn = 2 * np.pi * t / 13
            x, y, side = 90 + 12 * np.sin(turn), 10 + 6 * np.sin(2 * turn), 270
            matrix = np.float32([[256 / side, 0, -x * 256 / side], [0, 256 / side, -y * 256 / side]])
            writer.write(cv2.warpAffine(photo, matrix, (256, 256), flags=cv2.INTER_AREA))
    with av.open(str(folder / "camera.mjpeg"), "w", format="mjpeg") as camera:
        stream = camera.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuvj420p"
        for frame in VideoReader(folder / "clip.mp4"):
            camera.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        camera.mux(stream.encode(None))
    (folder / "bad.jpg").write_bytes(b"no picture")
    (folder / "bad.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def chrome(server, files):
    """A browser with a camera that shows the clip."""
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browser(*fake, f"--use-file-for-fake-video-capture={files / 'camera.mjpeg'}") as started:
        yield started


@pytest.fixture
def visit(chrome, server):
    """A page that is open during one test, in which nothing may go wrong."""
    one = Visit(chrome, server)
    yield one
    one.close()
    assert one.wrong == []


def text(page, selector: str, words: str):
    """Wait until it says this."""
    page.wait_for_function(
        "([s, w]) => document.querySelector(s)?.innerText.includes(w)", arg=[selector, words], timeout=30_000
    )


def give(page, selector: str, path) -> None:
    page.set_input_files(f"{selector} input[type=file]", str(path))


def play_time(page) -> float:
    return page.evaluate(f"document.querySelector('{RESULT}').currentTime")


def test_a_photo_and_a_clip_become_a_video_that_plays_beside_both(visit, files):
    page = visit.page
    give(page, "#photo", files / "me.jpg")
    text(page, "#found", "Face found")
    page.get_by_label("my video").check()
    give(page, "#video", files / "clip.mp4")
    page.locator("#strip button").nth(2).click()
    assert page.locator("#strip button").count() == 8
    page.wait_for_selector("#strip button[aria-pressed=true]")
    page.click("#animate")
    page.wait_for_selector(RESULT, timeout=60_000)
    assert page.locator("#animate-stage figure").count() == 3
    page.wait_for_function(f"document.querySelector('{RESULT}').currentTime > 0.3")
    times = page.evaluate("[...document.querySelectorAll('#animate-stage video')].map(v => v.currentTime)")
    assert abs(times[0] - times[1]) < 0.2
    for name, begins in (("Video", b"ftyp"), ("Motion", b"vaegan"), ("Report", b"<!doctype html>")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        assert begins in download.value.path().read_bytes()[:2000].lower()
    assert "13 frames of 360x300 px" in page.inner_text("#animate-status")


def move(page, slider: str, value: float) -> None:
    """As a hand moves it."""
    page.evaluate(
        """([name, value]) => {
          const slider = document.querySelector(`#${name} input[type=range]`);
          slider.value = value;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [slider, value],
    )


def changed(page, selector: str, before: str) -> str:
    """Wait until a picture is another one; returns it."""
    page.wait_for_function("([s, b]) => document.querySelector(s).src !== b", arg=[selector, before])
    return page.get_attribute(selector, "src")


def test_sliders_move_the_photo_and_faces_that_nobody_has(visit):
    page, picture = visit.page, "#explored img"
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector(picture)
    rest = page.get_attribute(picture, "src")
    move(page, "smile", 1)
    smiling = changed(page, picture, rest)
    move(page, "yaw", 25)
    turned = changed(page, picture, smiling)
    page.click("#reset")
    assert changed(page, picture, turned) == rest
    page.click("#random")
    page.locator("#faces button").nth(3).click()
    face = changed(page, picture, rest)
    move(page, "smile", 1)
    changed(page, picture, face)


def test_photos_in_a_row_become_an_animation(visit, files):
    page = visit.page
    page.get_by_role("tab", name="Explore").click()
    page.click("#row button")
    page.set_input_files("#photos input[type=file]", [str(files / "me.jpg"), str(find_photo("sample"))])
    text(page, "#photos", "sample")
    page.click("#interpolate")
    page.wait_for_selector("#row-stage video", timeout=60_000)
    page.wait_for_function("document.querySelector('#row-stage video').currentTime > 0.2")


def test_the_camera_drives_the_photo(visit):
    page = visit.page
    page.get_by_role("tab", name="Live").click()
    page.click("#live-start")
    text(page, "#live-figures", "dropped")
    page.wait_for_function("!document.querySelector('#live-figures').innerText.includes('hold still')")
    page.click("#live-stop")
    page.wait_for_function("document.querySelector('#live-figures').innerText === ''")
