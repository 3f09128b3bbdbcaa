"""Every figure of an evaluation, with its formula and source: pictures against pictures, motion against motion.

Pictures are float (N, 3, S, S) in [0, 1]; each picture figure gives one value per picture, (N,). Motion figures read
`Observed`, what an observer sees in a sequence of frames, and give one number for the sequence.
"""

import inspect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vaegan.critics.lpips import lpips_distance
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import FACE_POINTS
from vaegan.faces.regions import OVAL
from vaegan.losses import laplacian_variance, psnr
from vaegan.tensors import to_float

EYE_CORNERS = (33, 263)
SMILE = [BLENDSHAPES.index(name) - 1 for name in ("mouthSmileLeft", "mouthSmileRight")]
BATCH = 64


def definition(figure: Callable) -> str:
    """What a figure is, on one line: the words of the function that computes it."""
    text = " ".join(inspect.getdoc(figure).split("\n\nRaises")[0].split())
    return text if ":" in text[:40] else f"{figure.__name__}: {text}"


# ---- pictures


def l1(pictures: Tensor, real: Tensor) -> Tensor:
    """L1: mean |x - y| over pixels and channels in [0, 1]."""
    return (pictures - real).abs().flatten(1).mean(1)


def ssim(pictures: Tensor, real: Tensor) -> Tensor:
    """SSIM: structural similarity (Wang et al. 2004), Gaussian window of sigma 1.5, torchmetrics."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    return structural_similarity_index_measure(pictures, real, data_range=1.0, reduction="none")


def vif(pictures: Tensor, real: Tensor) -> Tensor:
    """VIF: visual information fidelity in the pixel domain (Sheikh & Bovik 2006), levels 0..255, torchmetrics."""
    from torchmetrics.functional.image import visual_information_fidelity

    return visual_information_fidelity(255 * pictures, 255 * real, reduction="none")


def sharpness(pictures: Tensor, real: Tensor) -> Tensor:
    """Sharpness: variance of the Laplacian of the grey crop, over the mean of it in the real crops: 1 = as sharp."""
    return laplacian_variance(pictures) / laplacian_variance(real).mean().clamp_min(1e-12)


def sharpness_ratio(pictures: np.ndarray, real: np.ndarray) -> float:
    """The mean of `sharpness` for uint8 (N, S, S, 3) against uint8 (M, S, S, 3)."""
    return float(sharpness(to_float(pictures), to_float(real)).mean())


def sharpness_full(
    pictures: list[np.ndarray], meshes: list[np.ndarray], photo: np.ndarray, photo_mesh: np.ndarray
) -> float:
    """Sharpness, full view: variance of the Laplacian of the grey face within its oval, at the photo's own resolution,
    over that of the photo: 1 = as sharp.

    pictures: uint8 (H, W, 3) each, meshes: (478, 2 or more) px, of some frames; NaN where there are none
    """
    still = _oval_sharpness(photo, photo_mesh)
    values = [_oval_sharpness(picture, mesh) for picture, mesh in zip(pictures, meshes, strict=True)]
    return float(np.mean(values) / max(still, 1e-12)) if values else float("nan")


def _oval_sharpness(picture: np.ndarray, mesh: np.ndarray) -> float:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(mesh[list(OVAL), :2]).astype(np.int32)], 1)
    return float(cv2.Laplacian(grey, cv2.CV_32F)[inside > 0].var()) if inside.any() else 0.0


PictureFigure = Callable[[Tensor, Tensor], Tensor]


def picture_figures(network: nn.Module | None) -> dict[str, PictureFigure]:
    """Name -> function of (pictures, real) for every picture figure that can be had; network: from `load_lpips`."""
    figures: dict[str, PictureFigure] = {"l1": l1, "psnr": psnr, "ssim": ssim, "vif": vif}
    if network is not None:
        figures["lpips"] = lambda pictures, real: lpips_distance(network, pictures, real)
    return figures


@torch.inference_mode()
def measure_pictures(pictures: np.ndarray, real: np.ndarray, network: nn.Module | None) -> dict[str, np.ndarray]:
    """All picture figures and the sharpness of uint8 (N, S, S, 3) against `real`, alike: name -> float64 (N,)."""
    values = []
    for at in range(0, len(pictures), BATCH):
        x, y = (to_float(p[at : at + BATCH]) for p in (pictures, real))
        values.append({name: figure(x, y).double() for name, figure in picture_figures(network).items()})
    joined = {name: torch.cat([v[name] for v in values]).numpy() for name in values[0]}
    return {**joined, "sharpness": sharpness(to_float(pictures), to_float(real)).double().numpy()}


@torch.inference_mode()
def measure_lpips(pictures: np.ndarray, real: np.ndarray, network: nn.Module) -> np.ndarray:
    """LPIPS of uint8 (N, S, S, 3) against `real`, alike: (N,)."""
    batches = (slice(at, at + BATCH) for at in range(0, len(pictures), BATCH))
    pairs = ((to_float(pictures[part]), to_float(real[part])) for part in batches)
    return torch.cat([lpips_distance(network, x, y).double() for x, y in pairs]).numpy()


# ---- motion


@dataclass(frozen=True)
class Observed:
    """What an observer sees in T frames; rows of frames without a face hold NaN.

    mesh: (T, 478, 3) px; expression: (T, 51), the blendshapes without `_neutral`, 0..1
    pose: (T, 3) yaw, pitch, roll in degrees; found: bool (T,)
    embeddings: figure -> (N, D), what a face embedder makes of some of the frames; see `likeness.IDENTITIES`
    """

    mesh: np.ndarray
    expression: np.ndarray
    pose: np.ndarray
    found: np.ndarray
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)

    def repeated(self, count: int) -> "Observed":
        """A single frame, shown `count` times."""
        rows = {name: np.repeat(getattr(self, name), count, 0) for name in _ROWS}
        return replace(self, **rows)

    def first_frame(self) -> "Observed":
        """The first frame alone."""
        rows = {name: getattr(self, name)[:1] for name in _ROWS}
        return replace(self, **rows, embeddings={name: vectors[:1] for name, vectors in self.embeddings.items()})


_ROWS = ("mesh", "expression", "pose", "found")


def pose_r(result: Observed, driver: Observed) -> float:
    """Pose r: Pearson correlation over time between the head angles of result and driver, see `correlation`."""
    return _together(correlation, result, driver, "pose")


def expression_r(result: Observed, driver: Observed) -> float:
    """Expression r: the same over the 51 blendshapes."""
    return _together(correlation, result, driver, "expression")


def pose_gain(result: Observed, driver: Observed) -> float:
    """Pose gain: how far the head turns when the driver's turns, see `gain`; 1 = as far, 0 = not at all."""
    return _together(gain, result, driver, "pose")


def expression_gain(result: Observed, driver: Observed) -> float:
    """Expression gain: the same over the 51 blendshapes."""
    return _together(gain, result, driver, "expression")


def _together(figure: Callable, result: Observed, driver: Observed, name: str) -> float:
    both = result.found & driver.found
    return figure(getattr(result, name)[both], getattr(driver, name)[both])


def correlation(result: np.ndarray, driver: np.ndarray) -> float:
    """sum_k s_k r_k / sum_k s_k for series (T, K): r_k is Pearson's correlation on axis k, s_k the driver's standard
    deviation there, so that an axis counts as much as the driver uses it. An axis on which the result does not move
    has r_k = 0, and so has a sequence of fewer than 3 frames (no face found).
    """
    return RunningMotion.over(result, driver).correlation()


def gain(result: np.ndarray, driver: np.ndarray) -> float:
    """sum_k s_k b_k / sum_k s_k for series (T, K): b_k = cov(result, driver) / var(driver) is the slope of the
    regression of the result on the driver on axis k, s_k the driver's standard deviation there.
    """
    return RunningMotion.over(result, driver).gain()


class RunningMotion:
    """`correlation` and `gain` of series that come row by row; nothing is kept but sums (Welford 1962).

    Args:
        axes: K, the width of a row.
    """

    def __init__(self, axes: int):
        self.count = 0
        self._mean, self._square, self._product = np.zeros((2, axes)), np.zeros((2, axes)), np.zeros(axes)

    @classmethod
    def over(cls, result: np.ndarray, driver: np.ndarray) -> "RunningMotion":
        """Of whole series (T, K)."""
        moved = cls(driver.shape[1])
        for rows in zip(result, driver, strict=True):
            moved.add(*rows)
        return moved

    def add(self, result: np.ndarray, driver: np.ndarray) -> None:
        """One row (K,) of each."""
        rows = np.stack([result, driver]).astype(np.float64)
        self.count += 1
        before = rows - self._mean
        self._mean += before / self.count
        after = rows - self._mean
        self._square += before * after
        self._product += before[0] * after[1]

    @property
    def spread(self) -> np.ndarray:
        """The driver's standard deviation on each axis, (K,); zeros for fewer than 3 rows."""
        return self._spreads()[1]

    def correlation(self) -> float:
        result, driver = self._spreads()
        moved = (result > 1e-9) & (driver > 1e-9)
        return _weighted(np.divide(self._covariance(), result * driver, out=np.zeros_like(driver), where=moved), driver)

    def gain(self) -> float:
        driver = self.spread
        slope = np.divide(self._covariance(), driver**2, out=np.zeros_like(driver), where=driver > 1e-9)
        return _weighted(slope, driver)

    def _spreads(self) -> np.ndarray:
        return np.sqrt(self._square / self.count) if self.count >= 3 else np.zeros_like(self._square)

    def _covariance(self) -> np.ndarray:
        return self._product / max(self.count, 1)


def _weighted(values: np.ndarray, weight: np.ndarray) -> float:
    return float((values * weight).sum() / weight.sum()) if weight.sum() > 1e-9 else 0.0


def smile_bias(result: Observed, photo: Observed, driver: Observed, reference: int = 0) -> float:
    """Smile bias: mean over time of s_result(t) - (s_photo + s_driver(t) - s_driver(reference)), s the mean of the
    blendshapes mouthSmileLeft and mouthSmileRight; > 0: smiles more than photo and driver ask for.
    """
    both = result.found & driver.found
    if not both.any() or not photo.found.any():
        return float("nan")
    s_result, s_photo, s_driver = (seen.expression[:, SMILE].mean(1) for seen in (result, photo, driver))
    change = s_driver - s_driver[reference if driver.found[reference] else np.argmax(driver.found)]
    return float((s_result - s_photo[photo.found][0] - change)[both].mean())


def jitter(result: Observed, driver: Observed) -> float:
    """Jitter: mean |m(t-1) - 2 m(t) + m(t+1)| of the 468 face points in eye distances, result / driver.

    Over the consecutive frames in which both show a face; NaN where there are none.
    """
    shaken = RunningJitter()
    for meshes in zip(*(zip(seen.mesh, seen.found, strict=True) for seen in (result, driver)), strict=True):
        shaken.add(*(mesh if found else None for mesh, found in meshes))
    return shaken.value()


class RunningJitter:
    """`jitter` of meshes that come frame by frame; the last three are kept."""

    def __init__(self) -> None:
        self._last: deque[np.ndarray | None] = deque(maxlen=3)
        self._shake, self._eyes, self._seen, self._count = np.zeros(2), np.zeros(2), np.zeros(2), 0

    def add(self, result: np.ndarray | None, driver: np.ndarray | None) -> None:
        """The meshes (478, 3) of one frame, None without a face."""
        pair = (result, driver)
        for number, mesh in enumerate(pair):
            if mesh is not None:
                self._eyes[number] += _eye_distance(mesh[None])[0]
                self._seen[number] += 1
        self._last.append(None if result is None or driver is None else _outlines(pair))
        if len(self._last) == 3 and all(meshes is not None for meshes in self._last):
            before, now, after = self._last
            self._shake += np.linalg.norm(before - 2 * now + after, axis=2).mean(1)
            self._count += 1

    def value(self) -> float:
        if not self._count:
            return float("nan")
        shake = self._shake / self._count / (self._eyes / self._seen)
        return float(shake[0] / max(shake[1], 1e-12))


def _outlines(meshes: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.stack([mesh[:FACE_POINTS, :2] for mesh in meshes]).astype(np.float64)


def _eye_distance(mesh: np.ndarray) -> np.ndarray:
    return np.linalg.norm(mesh[:, EYE_CORNERS[0], :2] - mesh[:, EYE_CORNERS[1], :2], axis=1)


def keypoint_distance(result: Observed, real: Observed) -> float:
    """Keypoint distance: mean distance in the picture between the 468 face points of result and real frame, in
    per cent of the real frame's distance of the outer eye corners. NaN when no frame shows both faces.
    """
    both = result.found & real.found
    if not both.any():
        return float("nan")
    off = np.linalg.norm((result.mesh - real.mesh)[both, :FACE_POINTS, :2], axis=2).mean(1)
    return float(100 * (off / _eye_distance(real.mesh[both])).mean())


def expression_distance(result: Observed, real: Observed) -> float:
    """Blendshape distance: mean |difference| over the 51 blendshapes and the frames that show both faces."""
    return _together(_apart, result, real, "expression")


def pose_error(result: Observed, real: Observed) -> float:
    """Head-pose error: mean |difference| of yaw, pitch and roll in degrees over the frames that show both faces."""
    return _together(_apart, result, real, "pose")


def _apart(result: np.ndarray, real: np.ndarray) -> float:
    return float(np.abs(result - real).mean()) if len(real) else float("nan")
