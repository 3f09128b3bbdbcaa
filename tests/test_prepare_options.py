"""What a user chooses of `vaegan prepare`, and what it says to a wrong choice."""

import json

import numpy as np
import pytest
from prepare_sources import PEOPLE, copy, cut, index_of, people, photos_of_people

from vaegan.data.prepare.merge import divide
from vaegan.data.prepare.parts import CropRow
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.settings import PrepareSettings, Splits, parse_framing, parse_split
from vaegan.errors import UserError
from vaegan.media import write_image


@pytest.fixture(scope="module")
def lfw(data_dir):
    """Three photos of three people."""
    return photos_of_people(data_dir)


def test_a_person_is_in_one_split_and_stays_there_when_others_come():
    def rows(count):
        return [CropRow("s", f"n:{i % count}", "", 90, 1.0, 1.0, 100, 0, 0, 0, 0, f"{i}.jpg") for i in range(3 * count)]

    few, many = rows(200), rows(2000)
    splits = Splits((("val", 0.1), ("test", 0.1)))
    divide(few, splits)
    divide(many, splits)
    assert all(len({row.split for row in few if row.person == f"n:{i}"}) == 1 for i in range(200))
    place = {row.person: row.split for row in many}
    assert all(place[row.person] == row.split for row in few)
    share = sum(row.split == "val" for row in many) / len(many)
    assert share == pytest.approx(0.1, abs=0.02)
    two = rows(2)
    divide(two, Splits())
    assert {row.split for row in two} == {"train", "val"}, "with two people there is something to validate on"


def test_a_partition_file_decides_who_goes_where(data_dir, models_dir, tmp_path):
    source = tmp_path / "in"
    people(data_dir, source)
    cut(data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg", source / "clips" / "talk.mp4", frames=6)
    (tmp_path / "table.csv").write_text("name,split\nAJ_Cook,test\nn:Abdulaziz_Kamilov,val\nclips/talk.mp4,val\n")
    prepare(
        [source],
        tmp_path / "set",
        PrepareSettings(min_shot=0.2),
        splits=parse_split(str(tmp_path / "table.csv")),
        workers=1,
    )
    split = {row["person"]: row["split"] for row in index_of(tmp_path / "set")}
    assert split[f"n:{PEOPLE[0]}"] == "test"
    assert split[f"n:{PEOPLE[1]}"] == "val"
    assert split[f"n:{PEOPLE[2]}"] == "train"
    assert {row["split"] for row in index_of(tmp_path / "set") if row["video"]} == {"val"}


@pytest.mark.parametrize("text", ["val=2", "val", "gone.csv", "train=0.5", "val=0.6,test=0.5"])
def test_a_split_that_cannot_be_is_refused(text):
    with pytest.raises(UserError, match="split"):
        parse_split(text)


def test_framing_is_parsed_and_bounded():
    assert parse_framing("scale=1.2,follow=true") == (1.2, True)
    assert parse_framing("follow=true") == (PrepareSettings.scale, True)
    for text in ("scale=big", "zoom=2", "follow=maybe"):
        with pytest.raises(UserError, match="framing"):
            parse_framing(text)
    with pytest.raises(UserError, match="scale"):
        PrepareSettings(scale=40)


def test_wrong_inputs_are_one_clear_line_and_leave_nothing(lfw, models_dir, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        prepare([tmp_path / "gone"], tmp_path / "set", workers=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no photos or videos"):
        prepare([tmp_path / "empty"], tmp_path / "set", workers=1)
    (tmp_path / "walls").mkdir()
    write_image(tmp_path / "walls" / "a.png", np.full((99, 99, 3), 200, np.uint8))
    with pytest.raises(UserError, match=r"no usable face.*1 no face"):
        prepare([tmp_path / "walls"], tmp_path / "set", workers=1)
    assert not (tmp_path / "set").exists()
    with pytest.raises(UserError, match="is not empty"):
        prepare([lfw[0]], tmp_path / "walls", workers=1)
    with pytest.raises(UserError, match="is a file"):
        prepare([lfw[0]], lfw[1], workers=1)


def test_the_command_tells_what_it_wrote(lfw, models_dir, tmp_path):
    from typer.testing import CliRunner

    from vaegan.cli.prepare import app

    for photo in lfw:
        copy(photo, tmp_path / "lfw" / photo.parent.name / photo.name)
    given = [str(tmp_path / "lfw"), "--output", str(tmp_path / "set"), "--workers", "1"]
    result = CliRunner().invoke(app, [*given, "--framing", "scale=1.1,follow=false", "--size", "64"])
    assert result.exit_code == 0, result.output
    assert "3 photos, read as lfw" in result.output
    assert "3 crops" in result.output
    about = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert about["settings"]["scale"] == 1.1
    assert CliRunner().invoke(app, [*given, "--kind", "mugshots"]).exit_code == 2
