"""labels.npz of a data set: the mesh and the blendshapes of every crop, exact, and mirrored with the picture.

The file is the one that section 5 of the design describes: `key`, `blendshapes` (uint8, in 1/255) and the mesh as
`mesh_mean + mesh_code @ mesh_basis.T`, in sides of the crop. Sets that we prepare use a multiple of the identity as
the basis, so that the code is the mesh itself in steps of 1/16384 of the side (error below 0.003 px at 96 px); sets
with a true basis (72 components, error about 0.1 px) read back through the same function.
"""

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES

FILE = "labels.npz"
POINTS = 478
STEPS = 16384
"""Codes per side of the crop: int16 reaches two sides to either side of the crop's corner."""


@dataclass(frozen=True)
class Labels:
    """key: (N,) str; mesh: float32 (N, 478, 3) in sides of the crop, from its top left corner, z in the same scale;
    blendshapes: float32 (N, 52), 0..1, in MediaPipe's order (`faces.blendshapes`)."""

    key: np.ndarray
    mesh: np.ndarray
    blendshapes: np.ndarray

    def mirrored(self) -> "Labels":
        """The labels of the same crops after a horizontal flip."""
        return Labels(self.key, mirrored_mesh(self.mesh), self.blendshapes[:, mirror_shapes()])


def read_labels(folder: Path, keys: list[str] | None = None) -> Labels | None:
    """The labels of a data set, None where it has none.

    Args:
        keys: read these, in this order; None: all, in the file's order.

    Raises:
        UserError: the file is broken, or a key has no label.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            names, code, shapes = file["key"], file["mesh_code"], file["blendshapes"]
            mean, basis = file["mesh_mean"], file["mesh_basis"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a label file ({error}): copy or prepare the data set again") from error
    if keys is not None:
        row = {name: i for i, name in enumerate(names.tolist())}
        missing = [key for key in keys if key not in row]
        if missing:
            raise UserError(f"{path} has no labels for {len(missing)} pictures, first {missing[0]}: prepare it again")
        chosen = np.array([row[key] for key in keys], int)
        names, code, shapes = names[chosen], code[chosen], shapes[chosen]
    if basis.shape[0] == basis.shape[1] and not (basis - basis[0, 0] * np.eye(len(basis), dtype=basis.dtype)).any():
        mesh = mean + code * basis[0, 0]
    else:
        mesh = mean + code.astype(np.float32) @ basis.T
    return Labels(names, mesh.reshape(-1, POINTS, 3).astype(np.float32), shapes.astype(np.float32) / 255)


def mesh_codes(mesh: np.ndarray) -> np.ndarray:
    """Mesh (..., 478, 3) in sides of the crop -> int16 codes; points two sides away are held there."""
    return np.clip(np.rint(mesh * STEPS), -32768, 32767).astype(np.int16)


def shape_codes(blendshapes: np.ndarray) -> np.ndarray:
    """Blendshapes (..., 52), 0..1 -> uint8 in 1/255."""
    return np.rint(np.clip(blendshapes, 0, 1) * 255).astype(np.uint8)


def write_labels(path: Path, keys: list[str], codes: np.ndarray, shapes: np.ndarray) -> None:
    """Write labels.npz, the same bytes for the same labels.

    Args:
        codes: int16 (N, 478, 3) of `mesh_codes`. shapes: uint8 (N, 52) of `shape_codes`.
    """
    arrays = {
        "key": np.array(keys, dtype=np.str_),
        "mesh_mean": np.zeros(POINTS * 3, np.float32),
        "mesh_basis": np.eye(POINTS * 3, dtype=np.float32) / STEPS,
        "mesh_code": codes.reshape(len(keys), -1),
        "blendshapes": shapes,
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, not now
            # The basis shrinks to nothing; codes hardly shrink, and are read at the speed of the disk as they are.
            entry.compress_type = zipfile.ZIP_DEFLATED if name in ("mesh_basis", "key") else zipfile.ZIP_STORED
            with file.open(entry, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, np.ascontiguousarray(array), allow_pickle=False)


@cache
def mirror_shapes() -> np.ndarray:
    """Index (52,) such that `blendshapes[index]` are those of the mirrored picture."""
    swap = str.maketrans({"\0": "Left", "\1": "Right"})
    other = [name.replace("Left", "\1").replace("Right", "\0").translate(swap) for name in BLENDSHAPES]
    return np.array([BLENDSHAPES.index(name) for name in other])


def mirrored_mesh(mesh: np.ndarray) -> np.ndarray:
    """Mesh (..., 478, 3) in sides of the crop -> that of the mirrored crop."""
    turned = mesh[..., mirror_points(), :].copy()
    turned[..., 0] = 1 - turned[..., 0]
    return turned


@cache
def mirror_points() -> np.ndarray:
    """Index (478,) of each point's mirror image: `mesh[index]` with x turned round is the mirrored face."""
    index = np.arange(POINTS)
    for pair in _PAIRS.split():
        right, left = map(int, pair.split("-"))
        index[right], index[left] = left, right
    return index


_PAIRS = """
3-248 7-249 20-250 21-251 22-252 23-253 24-254 25-255 26-256 27-257 28-258 29-259 30-260 31-261 32-262 33-263 34-264
35-265 36-266 37-267 38-268 39-269 40-270 41-271 42-272 43-273 44-274 45-275 46-276 47-277 48-278 49-279 50-280 51-281
52-282 53-283 54-284 55-285 56-286 57-287 58-288 59-289 60-290 61-291 62-292 63-293 64-294 65-295 66-296 67-297 68-298
69-299 70-300 71-301 72-302 73-303 74-304 75-305 76-306 77-307 78-308 79-309 80-310 81-311 82-312 83-313 84-314 85-315
86-316 87-317 88-318 89-319 90-320 91-321 92-322 93-323 95-324 96-325 97-326 98-327 99-328 100-329 101-330 102-331
103-332 104-333 105-334 106-335 107-336 108-337 109-338 110-339 111-340 112-341 113-342 114-343 115-344 116-345
117-346 118-347 119-348 120-349 121-350 122-351 123-352 124-353 125-354 126-355 127-356 128-357 129-358 130-359
131-360 132-361 133-362 134-363 135-364 136-365 137-366 138-367 139-368 140-369 141-370 142-371 143-372 144-373
145-374 146-375 147-376 148-377 149-378 150-379 153-380 154-381 155-382 156-383 157-384 158-385 159-386 160-387
161-388 162-389 163-390 165-391 166-392 167-393 169-394 170-395 171-396 172-397 173-398 174-399 176-400 177-401
178-402 179-403 180-404 181-405 182-406 183-407 184-408 185-409 186-410 187-411 188-412 189-413 190-414 191-415
192-416 193-417 194-418 196-419 198-420 201-421 202-422 203-423 204-424 205-425 206-426 207-427 208-428 209-429
210-430 211-431 212-432 213-433 214-434 215-435 216-436 217-437 218-438 219-439 220-440 221-441 222-442 223-443
224-444 225-445 226-446 227-447 228-448 229-449 230-450 231-451 232-452 233-453 234-454 235-455 236-456 237-457
238-458 239-459 240-460 241-461 242-462 243-463 244-464 245-465 246-466 247-467 468-473 469-476 470-475 471-474
472-477
"""
