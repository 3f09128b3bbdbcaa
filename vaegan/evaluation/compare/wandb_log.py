"""Reading a local W&B run, the `run-ID.wandb` file that it writes online and offline alike.

wandb has no reader of its own in Python any more. The file is LevelDB's log format with a header of its own: 7 bytes,
then blocks of 32 KiB with chunks of (CRC-32, length, type) and data; the records are wandb's own protocol buffers.
https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import UserError
from vaegan.evaluation.compare.log import Log
from vaegan.media import read_image

BLOCK = 32768
CHUNK_HEADER = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_wandb(file: Path) -> Log:
    """Figures, configuration, last grid and runtime of one `run-ID.wandb` file; media lie in `files/` beside it.

    Raises:
        UserError: wandb is not installed, or the file is damaged.
    """
    try:
        from google.protobuf.message import DecodeError
        from wandb.proto.wandb_internal_pb2 import Record
    except ModuleNotFoundError as error:
        raise UserError(f"{file}: reading W&B runs needs wandb: pip install 'vaegan[wandb]'") from error
    log = Log("wandb")
    grid = None
    for data in records(file, log.notes):
        record = Record()
        try:
            record.ParseFromString(data)
        except DecodeError as error:
            raise UserError(f"{file} is damaged ({error}): leave this run out") from error
        kind = record.WhichOneof("record_type")
        if kind == "run":
            log.config |= _items(record.run.config.update)
        elif kind == "config":
            log.config |= _items(record.config.update)
        elif kind == "exit":
            log.seconds = max(float(record.exit.runtime), log.seconds or 0.0)  # its own are whole seconds
        elif kind == "history":
            values = _items(record.history.item)
            grid = values.get("grid", {}).get("filenames") or grid
            step = values.get("trainer/global_step", values.get("_step", record.history.step.num))
            log.add(int(step), {k: v for k, v in values.items() if _is_figure(k, v)})
            log.seconds = values.get("_runtime", log.seconds)
    log.record = log.config.pop("run", {})
    log.config.pop("_wandb", None)
    path = file.parent / "files" / grid[-1] if grid else None
    if path is not None and path.is_file():
        log.grid = read_image(path)
    return log


def records(file: Path, notes: list[str]) -> Iterator[bytes]:
    """The records of a .wandb file; one that its end cuts off is left out with a note.

    Raises:
        UserError: no such file format, or a checksum that is wrong.
    """
    data = file.read_bytes()
    if data[:4] != b":W&B":
        raise UserError(f"{file} is not a W&B run file: leave it out")
    offset, parts = 7, b""
    while offset + CHUNK_HEADER.size <= len(data):
        left = BLOCK - offset % BLOCK
        if left < CHUNK_HEADER.size:
            offset += left
            continue
        checksum, length, kind = CHUNK_HEADER.unpack_from(data, offset)
        start = offset + CHUNK_HEADER.size
        chunk = data[start : start + length]
        if len(chunk) < length:
            break
        if kind not in (FULL, FIRST, MIDDLE, LAST) or zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != checksum:
            raise UserError(f"{file} is damaged at byte {offset}: leave this run out")
        offset = start + length
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            yield parts
            parts = b""
    if offset < len(data) or parts:
        notes.append(f"{file} is cut short (the run was killed, or still runs): shown up to there")


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


def _is_figure(name: str, value: Any) -> bool:
    return isinstance(value, int | float) and not name.startswith("_") and name != "trainer/global_step"
