"""What a configuration may build: classes of vaegan, and nothing else."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaegan.config import instantiate
from vaegan.errors import UserError

OURS = "vaegan.faces.geometry.Crop"


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "hydra.utils.get_method",
        "vaegan",
        "vaeganish.Thing",
        "vaegan.config.inspect.os.system",  # through a module of ours into another
        "vaegan.config.inspect",
        "vaegan.config.partial",  # what a module of ours imports
        "vaegan.data.module.pl.Trainer",
        "vaegan.data.stills.StillsData.load_from_checkpoint",  # inherited, and unpickles
        "vaegan.config.instantiate.__globals__.get",
        "vaegan.errors.UserError.__subclasses__",
        "vaegan.missing.Thing",
        "vaegan..errors",
        ["vaegan.errors.UserError"],
        print,
        None,
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["top", "nested", "in a list", "in an argument"])
def test_a_foreign_target_is_refused_in_one_line_and_never_called(target, place, capfd):
    bad = {"_target_": target, "_args_": ["echo called"]}
    node = {
        "top": bad,
        "nested": {"_target_": "vaegan.errors.UserError", "a": {"b": bad}},
        "in a list": [{"_target_": "vaegan.errors.UserError"}, [bad]],
        "in an argument": {"_target_": "vaegan.errors.UserError", "_args_": [bad]},
    }[place]
    with pytest.raises(UserError, match="is refused") as error:
        instantiate(node)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().out == ""


def test_a_target_that_an_interpolation_makes_foreign_is_refused():
    cfg = OmegaConf.create({"name": "os.system", "a": {"_target_": "${name}", "_args_": ["echo called"]}})
    with pytest.raises(UserError, match=r"os\.system"):
        instantiate(cfg.a)


def test_what_a_configuration_describes_is_built_with_further_arguments_as_they_are():
    marker = object()
    cfg = OmegaConf.create({"side": 3, "a": {"_target_": "vaegan.errors.UserError", "_args_": [["x", "${side}"]]}})
    built = instantiate(cfg)["a"]
    assert isinstance(built, UserError) and built.args == (["x", 3],) and type(built.args[0]) is list
    fields = {"_target_": "vaegan.data.format.Entry", "key": "k", "split": "val", "shard": "s.tar"}
    assert instantiate(fields, columns=marker).columns is marker
    assert instantiate({**fields, "_partial_": True}, columns=marker)().columns is marker


def test_settings_that_the_class_does_not_take_are_named():
    with pytest.raises(UserError, match=r"StreamData.*colour"):
        instantiate({"_target_": "vaegan.data.stream.StreamData", "colour": 3})
    with pytest.raises(OmegaConfBaseException, match="Missing mandatory value"):
        instantiate(OmegaConf.create({"_target_": "vaegan.errors.UserError", "_args_": ["???"]}))


def test_a_mistake_that_a_nested_class_reports_reaches_the_user_as_it_is():
    nested = {
        "_target_": "vaegan.errors.UserError",
        "_args_": [{"_target_": "vaegan.data.stream.find_stream", "name": "no such set"}],
    }
    with pytest.raises(UserError, match=r"^no data set 'no such set'"):
        instantiate(nested)
