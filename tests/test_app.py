"""`vaegan app`: the page as visitors use it, in a browser."""

import inspect
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from page import Server, Visit, browser, chromium
from PIL import Image

import vaegan
from vaegan.cli.transfer import transfer
from vaegan.media import VideoReader, VideoWriter, read_image, write_image
from vaegan.samples import find_photo

gradio = pytest.importorskip("gradio", reason="the extra `app` is not installed")
options = pytest.importorskip("vaegan.app.options")
inputs = pytest.importorskip("vaegan.app.inputs")
visitors = pytest.importorskip("vaegan.app.visitors")

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
        "([s, w]) => document.querySelector(s)?.innerText.includes(w)", arg=[selector, words], timeout=60_000
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
    move(page, "seconds", 0.4)
    page.click("#interpolate")
    page.wait_for_selector("#row-stage video", timeout=60_000)
    page.wait_for_function("document.querySelector('#row-stage video').currentTime > 0.2")


def test_two_renderers_are_compared_in_step(visit, files):
    page = visit.page
    page.get_by_label("my video").check()
    give(page, "#video", files / "clip.mp4")
    page.get_by_role("tab", name="Compare").click()
    page.click("button#compare")
    page.wait_for_selector("#compare-stage table", timeout=90_000)
    page.wait_for_function("document.querySelector('#compare-stage video').currentTime > 0.3")
    times = page.evaluate("[...document.querySelectorAll('#compare-stage video')].map(v => v.currentTime)")
    assert len(times) == 3 and max(times) - min(times) < 0.2
    assert page.locator("#compare-stage th").all_inner_texts()[1:3] == [
        "left: motion64, warp",
        "right: motion64, decode",
    ]
    assert "Smile" in page.inner_text("#compare-stage table")


def test_the_camera_drives_the_photo(visit):
    page = visit.page
    page.get_by_role("tab", name="Live").click()
    page.click("#live-start")
    text(page, "#live-figures", "dropped")
    page.wait_for_function("!document.querySelector('#live-figures').innerText.includes('hold still')")
    page.click("#live-stop")
    page.wait_for_function("document.querySelector('#live-figures').innerText === ''")


def test_every_option_of_transfer_has_a_field_or_a_reason(files):
    parameters = inspect.signature(transfer).parameters
    with gradio.Blocks():
        form = options.form()
    paths = {"sign", "storyboard", "save_motion", "report"}
    assert {option.name for option in form} == set(parameters) - options.ELSEWHERE - paths - {"dry_run"}
    asked = options.read(form, tuple(option.field.value for option in form))
    assert {name: value for name, value in asked.items() if value != _default(parameters[name])} == {}


def _default(parameter: inspect.Parameter):
    return getattr(parameter.default, "value", parameter.default)


def test_cancelled_work_leaves_nothing(visit, server):
    page = visit.page
    for _ in range(3):  # a machine that is busy may have the last frame before the click arrives
        page.click("#animate")
        page.wait_for_function("!/ px in /.test(document.querySelector('#animate-status').innerText)")
        text(page, "#animate-status", "frames/s")
        page.click("#cancel")
        page.wait_for_function("/nothing is kept| px in /.test(document.querySelector('#animate-status').innerText)")
        if "nothing is kept" in page.inner_text("#animate-status"):
            break
    else:
        pytest.fail("three animations ended before they could be cancelled")
    assert not [name for name in server.files() if "animate" in name]


def test_what_is_wrong_is_said_in_the_words_of_the_command(visit, files):
    page = visit.page
    give(page, "#photo", files / "bad.jpg")
    text(page, "#found", "bad.jpg is not a picture that can be read")
    page.click("#animate")
    text(page, "#animate-status", "bad.jpg is not a picture that can be read")
    give(page, "#photo", files / "me.jpg")
    text(page, "#found", "Face found")
    page.get_by_label("my video").check()
    page.click("#animate")
    text(page, "#animate-status", "there is no video")
    give(page, "#video", files / "bad.mp4")
    text(page, "#strip", "bad.mp4")
    page.click("#animate")
    text(page, "#animate-status", "bad.mp4")
    assert str(files) not in page.inner_text("body") and "/tmp" not in page.inner_text("body")


def test_a_file_in_the_wrong_place_is_told_where_it_belongs(visit, files):
    page = visit.page
    give(page, "#photo", files / "clip.mp4")
    text(page, "#animate-status", "clip.mp4 is a video: choose my video")
    page.get_by_label("my video").check()
    page.wait_for_function("!document.querySelector('.misplaced')")
    (files / "hello.motion").write_bytes(b"a motion")
    give(page, "#video", files / "hello.motion")
    text(page, "#animate-status", "hello.motion is a motion: choose my motion file")


def test_two_visitors_get_each_their_own_and_their_files_go_with_them(chrome, server, files):
    one, other = Visit(chrome, server), Visit(chrome, server)
    give(other.page, "#photo", files / "me.jpg")
    text(other.page, "#found", "Face found")
    for visitor in (one, other):
        visitor.page.get_by_label("measure the result").uncheck()
        visitor.page.click("#animate")
    for visitor in (one, other):
        visitor.page.wait_for_selector(RESULT, timeout=90_000)
    assert "512x512" in one.page.inner_text("#animate-status")
    assert "360x300" in other.page.inner_text("#animate-status")
    assert len([name for name in server.files() if name.endswith("result.mp4")]) >= 2
    for visitor in (one, other):
        visitor.close()
        assert visitor.wrong == []
    until = time.monotonic() + 60
    while left := [name for name in server.files() if "sample" not in name]:
        assert time.monotonic() < until, left
        time.sleep(0.2)


@pytest.mark.parametrize("width", [1320, 390])
def test_it_fits_the_screen_and_can_be_read_and_named(chrome, server, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    one = Visit(chrome, server, width)
    for tab in ("Animate", "Live", "Explore", "Compare"):
        one.page.get_by_role("tab", name=tab).click()
        one.page.wait_for_timeout(300)
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        broken = axe.run(one.page).response["violations"]
        assert [(tab, rule["id"], node["html"]) for rule in broken for node in rule["nodes"]] == []
    one.close()


def test_the_keyboard_is_enough(visit):
    page = visit.page
    focus(page, "#animate")
    page.keyboard.press("Enter")
    text(page, "#animate-status", "frames/s")
    focus(page, "#cancel")
    page.keyboard.press("Enter")
    text(page, "#animate-status", "nothing is kept")
    focus(page, "[role=tab][data-tab-id=explore]", back=True)
    page.keyboard.press("Enter")
    page.wait_for_selector("#explored img")
    before = page.get_attribute("#explored img", "src")
    focus(page, "#smile input[type=range]")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    changed(page, "#explored img", before)


def focus(page, selector: str, back: bool = False) -> None:
    """Press the tabulator until this has the focus."""
    for _ in range(80):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if page.evaluate("s => document.activeElement?.matches(s)", selector):
            return
    pytest.fail(f"the keyboard does not reach {selector}")


def test_what_is_given_is_bounded(files, tmp_path, monkeypatch):
    wide = np.zeros((10, inputs.LARGEST_PX + 2, 3), np.uint8)
    write_image(tmp_path / "wide.png", wide)
    with pytest.raises(vaegan.UserError, match="scale it down"):
        inputs.check_photo(str(tmp_path / "wide.png"))
    monkeypatch.setattr(inputs, "LONGEST_SECONDS", 0)
    inputs.check_length(files / "clip.mp4", 0.0, 0.5, None)
    monkeypatch.setattr(inputs, "LONGEST_SECONDS", -0.5)
    with pytest.raises(vaegan.UserError, match="set start and end"):
        inputs.check_length(files / "clip.mp4", 0.0, None, None)


def test_without_gradio_it_says_what_to_install():
    code = "import sys; sys.modules['gradio'] = None; sys.argv[1:] = ['app']; from vaegan.cli.main import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1 and "pip install 'vaegan[app]'" in ended.stderr and ended.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_told(server):
    code = f"import sys; sys.argv[1:] = ['app', '--port', '{server.port}', '--no-browser']; "
    code += "from vaegan.cli.main import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and f"127.0.0.1:{server.port} cannot be used" in ended.stderr


def test_pictures_for_the_readme(chrome, server, tmp_path):
    """With VAEGAN_SCREENSHOTS=1 they replace those in docs/images."""
    one = Visit(chrome, server, 1280, 800)
    one.page.get_by_label("smiling").check()
    one.page.get_by_label("measure the result").uncheck()
    one.page.click("#animate")
    one.page.wait_for_selector(RESULT, timeout=90_000)
    one.page.evaluate(f"document.querySelector('{RESULT}').pause()")
    one.page.evaluate(f"document.querySelector('{RESULT}').currentTime = 1.5")
    shot(one.page, "app", tmp_path)
    one.page.get_by_role("tab", name="Explore").click()
    one.page.wait_for_selector("#explored img")
    for slider, value in (("smile", 0.9), ("yaw", 18), ("brows_up", 0.6)):
        before = one.page.get_attribute("#explored img", "src")
        move(one.page, slider, value)
        changed(one.page, "#explored img", before)
    shot(one.page, "app-explore", tmp_path)
    one.close()
    assert one.wrong == []


def shot(page, name: str, folder) -> None:
    page.wait_for_timeout(700)
    page.screenshot(path=folder / f"{name}.png")
    with Image.open(folder / f"{name}.png") as image:
        image.convert("RGB").save(folder / f"{name}.webp", quality=82, method=6)
    assert 10_000 < (folder / f"{name}.webp").stat().st_size < 300_000
    if os.environ.get("VAEGAN_SCREENSHOTS"):
        shutil.copy(folder / f"{name}.webp", Path(__file__).parents[1] / "docs/images")


def test_a_second_result_takes_the_place_of_the_first_under_another_name(tmp_path):
    visitor = visitors.Visitors(tmp_path).of("someone")
    first = visitor.new_folder("animate")
    (first / "result.mp4").touch()
    second = visitor.new_folder("animate")
    assert second != first and second.is_dir() and not first.exists()  # a browser would show the old one again


def test_uploads_stay_as_long_as_somebody_has_them(tmp_path):
    everybody = visitors.Visitors(tmp_path)
    (tmp_path / "hash").mkdir()
    photo = tmp_path / "hash" / "me.jpg"
    photo.touch()
    (tmp_path / "broken-off").touch()
    for name in ("one", "other"):
        everybody.of(name, photo)
    everybody.leave("one")
    assert photo.exists()
    everybody.leave("other")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
