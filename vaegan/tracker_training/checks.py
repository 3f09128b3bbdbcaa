"""How well the tracker's networks do what the teacher does: the figures printed while they learn."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import mesh_box
from vaegan.faces.own import overlap, peaks
from vaegan.tensors import to_float
from vaegan.tracker_training.groups import HELD_OUT, Group
from vaegan.tracker_training.mosaic import Composer
from vaegan.tracker_training.samples import steady_crops

OUTER_EYES = (33, 263)


class LandmarkerCheck:
    """Held-out crops, cut once, on which a landmarker is measured.

    Args:
        groups: "faces", "faces-tight", "clips-dev".
        size, roi_scale: of the landmarker.
        stills: the most of each kind of stills.
    """

    def __init__(self, groups: Mapping[str, Group], *, size: int, roi_scale: float, stills: int) -> None:
        self.parts = {}
        for name, group in groups.items():
            faces = group.faces(HELD_OUT)
            clips = name.startswith("clips")
            faces = faces if clips else faces[:: max(1, len(faces) // stills)]
            crops, meshes, regions = steady_crops(group, faces, size=size, roi_scale=roi_scale, previous=clips)
            blendshapes = group.blendshapes[faces].astype(np.float32) / 255
            sequence = group.sequence[group.owner[faces]]
            self.parts[name] = (crops, meshes, regions, blendshapes, sequence)

    def __call__(self, net: nn.Module) -> dict[str, float]:
        """Figures by name: point error in % of the outer-eye distance (median and 95th percentile of the pictures'
        means), root mean square error of the mesh box (x, y, log side; in % of its side), share of faces called faces,
        correlation of blendshapes over time, jitter against the teacher's."""
        figures = {}
        for name, (crops, meshes, regions, blendshapes, sequence) in self.parts.items():
            found, presence, expression = _predict(net, crops)
            eyes = np.linalg.norm(meshes[:, OUTER_EYES[0], :2] - meshes[:, OUTER_EYES[1], :2], axis=1)
            wide = np.linalg.norm(meshes[:, OUTER_EYES[0]] - meshes[:, OUTER_EYES[1]], axis=1)
            error = 100 * np.linalg.norm((found - meshes)[..., :2], axis=2).mean(1) / np.maximum(eyes, wide / 2)
            figures[f"{name}/error"] = float(np.median(error))
            figures[f"{name}/error95"] = float(np.percentile(error, 95))
            figures[f"{name}/box"] = box_error(found, meshes)
            figures[f"{name}/present"] = float((presence > 0.5).mean())
            if name.startswith("clips"):
                figures |= {f"{name}/{k}": v for k, v in expression_figures(expression, blendshapes, sequence).items()}
                figures[f"{name}/jitter"] = _jitter(found, meshes, regions, sequence)
        return figures


@torch.inference_mode()
def _predict(net: nn.Module, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    outputs, device = [], next(net.parameters()).device
    for start in range(0, len(crops), 64):
        batch = to_float(crops[start : start + 64], device)
        mesh, presence, blendshapes = net(batch)
        outputs.append((mesh.cpu().numpy(), presence.sigmoid().cpu().numpy(), blendshapes.sigmoid().cpu().numpy()))
    return tuple(np.concatenate(part) for part in zip(*outputs, strict=True))


def box_error(found: np.ndarray, true: np.ndarray) -> float:
    """Root mean square over meshes (N, 478, 3) of the error of the mesh box's x, y and log side, in % of the side."""
    ours, theirs = (np.array([mesh_box(mesh) for mesh in meshes]) for meshes in (found, true))
    side = theirs[:, 2]
    errors = [*((ours - theirs)[:, :2].T / side), np.log(ours[:, 2] / side)]
    return 100 * float(np.sqrt(np.square(errors).mean()))


def expression_figures(found: np.ndarray, true: np.ndarray, sequence: np.ndarray) -> dict[str, float]:
    """Pearson correlation over time, each clip and blendshape weighted by how much it moves in the teacher's eyes."""
    r, weight = [], []
    for clip in np.unique(sequence):
        a, b = found[sequence == clip], true[sequence == clip]
        a, b = a - a.mean(0), b - b.mean(0)
        norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
        r.append(np.where(norm > 1e-9, (a * b).sum(0) / np.maximum(norm, 1e-9), 0))
        weight.append(b.std(0))
    r, weight = np.array(r), np.array(weight)
    figures = {"r": float((r * weight).sum() / weight.sum())}
    for prefix in ("jawOpen", "eyeBlink", "mouthSmile"):
        which = [i for i, name in enumerate(BLENDSHAPES) if name.startswith(prefix)]
        figures[f"r_{prefix}"] = float((r * weight)[:, which].sum() / weight[:, which].sum())
    return figures


def _jitter(found: np.ndarray, true: np.ndarray, regions: list, sequence: np.ndarray) -> float:
    """Mean absolute second difference of the points in the picture, relative to the teacher's."""
    sums = [0.0, 0.0]
    for n, meshes in enumerate((found, true)):
        placed = np.stack([r.to_picture(m[:, :2], 1.0) for r, m in zip(regions, meshes, strict=True)])
        for clip in np.unique(sequence):
            sums[n] += float(np.abs(np.diff(placed[sequence == clip], 2, axis=0)).sum())
    return sums[0] / sums[1]


class DetectorCheck:
    """Held-out compositions, half of the number without a face, on which a detector is measured."""

    def __init__(self, composer: Composer, pictures: int, min_score: float) -> None:
        rng = np.random.default_rng(0)
        self.made = [composer.compose(rng, int(rng.integers(1, 4)) if n % 2 else 0) for n in range(pictures)]
        self.min_score = min_score

    @torch.inference_mode()
    def __call__(self, net: nn.Module) -> dict[str, float]:
        """recall: share of faces found at an intersection over union of .5; false: found where nothing is, per picture
        with faces and per picture without; roll: mean error in degrees."""
        faces = hits = wrong = 0
        empty = [0, 0]
        rolls, device = [], next(net.parameters()).device
        for made in self.made:
            image = to_float(made.image[None], device)
            boxes, _ = peaks(net(image)[0].cpu(), self.min_score)
            true = [np.array([f.cx, f.cy, f.side, f.roll]) for f in made.faces]
            unclear = [np.array([f.cx, f.cy, f.side, f.roll]) for f in made.unclear]
            best = [max(boxes, key=lambda box: overlap(box, face), default=None) for face in true]
            good = [b is not None and overlap(b, face) >= 0.5 for b, face in zip(best, true, strict=True)]
            faces, hits = faces + len(true), hits + sum(good)
            rolls += [abs(b[3] - face[3]) for b, face, g in zip(best, true, good, strict=True) if g]
            stray = sum(all(overlap(box, face) < 0.3 for face in true + unclear) for box in boxes)
            if true or unclear:
                wrong += stray
            else:
                empty = [empty[0] + 1, empty[1] + (stray > 0)]
        return {
            "recall": hits / max(1, faces),
            "false_beside_faces": wrong / max(1, len(self.made) - empty[0]),
            "false_on_empty": empty[1] / max(1, empty[0]),
            "roll_degrees": float(np.degrees(np.mean(rolls))) if rolls else 90.0,
        }
