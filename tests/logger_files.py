"""What W&B and TensorBoard wrote on disk, read back: for the tests of the loggers."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vaegan.evaluation.compare.runs import Run
from vaegan.media import decode_image, read_image


def read_tensorboard(folder: Path) -> Run:
    """Scalars, the texts "config" and "run", and the last image "grid" of the event files in `folder`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(folder)
    for file in sorted(folder.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0, "images": 1, "tensors": 0}).Reload()
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                run.rows.setdefault(event.step, {})[name] = event.value
        run.grid = decode_image(events.Images("grid")[-1].encoded_image_string)
        texts = [events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0] for name in ("config", "run")]
        config, record = (text.decode().split("\n", 1)[1].removesuffix("```") for text in texts)
        run.config, run.record = yaml.safe_load(config), json.loads(record)
    return run


def read_wandb(folder: Path) -> Run:
    """Figures, configuration and the last grid of the local run in `folder`; media lie in `files/` there."""
    run, grid = Run(folder), None
    for record in wandb_records(folder):
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            run.config |= _items((record.run.config if kind == "run" else record.config).update)
        elif kind == "history":
            values = _items(record.history.item)
            grid = values.get("grid", {}).get("filenames") or grid
            step = int(values.pop("trainer/global_step"))
            own = {name: v for name, v in values.items() if isinstance(v, int | float) and not name.startswith("_")}
            run.rows.setdefault(step, {}).update(own)
    run.record = run.config.pop("run", {})
    run.config.pop("_wandb", None)
    if grid:
        run.grid = read_image(folder / "files" / grid[-1])
    return run


def wandb_records(folder: Path) -> list:
    """The records of `run-ID.wandb` in `folder`: LevelDB's log format, blocks of 32 KiB after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("run-*.wandb")
    return [Record.FromString(data) for data in _chunks(file.read_bytes())]


def _chunks(data: bytes) -> Iterator[bytes]:
    block, header = 32768, struct.Struct("<IHB")
    offset, parts = 7, b""
    while offset + header.size <= len(data):
        left = block - offset % block
        if left < header.size:
            offset += left
            continue
        _, length, kind = header.unpack_from(data, offset)  # kind: 1 whole, 2 first, 3 middle, 4 last
        offset += header.size + length
        chunk = data[offset - length : offset]
        parts = chunk if kind in (1, 2) else parts + chunk
        if kind in (1, 4):
            yield parts


def _items(items: Any) -> dict[str, Any]:
    """W&B's key/value items as a nested dict."""
    found: dict[str, Any] = {}
    for item in items:
        *path, last = list(item.nested_key) or [item.key]
        inner = found
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = json.loads(item.value_json)
    return found
