"""Reading a run from TensorBoard's event files."""

import logging
from pathlib import Path

from vaegan.errors import UserError
from vaegan.evaluation.compare.log import Log, as_dict
from vaegan.media import decode_image


def read_tensorboard(folder: Path) -> Log:
    """Scalars, the texts "config" and "run", and the last image "grid" of the event files in `folder`.

    Raises:
        UserError: tensorboard is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ModuleNotFoundError as error:
        raise UserError(
            f"{folder}: reading event files needs tensorboard: pip install 'vaegan[tensorboard]'"
        ) from error
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    log = Log("tensorboard")
    sittings = []
    for file in sorted(folder.glob("events.out.tfevents.*")):  # a resumed run writes another one
        events = EventAccumulator(str(file), size_guidance={"scalars": 0, "images": 1, "tensors": 0}).Reload()
        times = []
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                log.add(event.step, {name: event.value})
                times.append(event.wall_time)
        if "grid" in events.Tags()["images"]:
            log.grid = decode_image(events.Images("grid")[-1].encoded_image_string)
        log.config = _text(events, "config", "yaml") or log.config
        log.record = _text(events, "run", "json") or log.record
        if times:
            sittings.append(max(times) - min(times))
    log.seconds = sum(sittings) if sittings else None
    return log


def _text(events, name: str, kind: str) -> dict:
    tag = f"{name}/text_summary"
    if tag not in events.Tags()["tensors"]:
        return {}
    text = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode("utf-8", "replace")
    return as_dict(text.removeprefix(f"```{kind}\n").removesuffix("```"), kind)
