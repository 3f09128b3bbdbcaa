"""The frozen critics see what their originals see, and pass gradients on to the pictures."""

import cv2
import numpy as np
import pytest
import torch

from vaegan.critics.embedder import Embedder
from vaegan.critics.landmarker import Landmarker
from vaegan.errors import UserError
from vaegan.faces.tracker import FaceTracker
from vaegan.faces.weights import find_weights
from vaegan.media import read_image
from vaegan.samples import find_photo
from vaegan.tensors import to_float

needs_embedder = pytest.mark.skipif(
    not (find_weights("mobilefacenet_torch.npz") and find_weights("mobilefacenet.onnx")),
    reason="mobilefacenet_torch.npz and mobilefacenet.onnx are not in VAEGAN_MODELS",
)


@pytest.fixture(scope="module")
def sample():
    """A picture uint8 (H, W, 3) and its largest face."""
    image = read_image(find_photo("sample"))
    return image, FaceTracker("own").detect(image)[0]


@needs_embedder
def test_the_embedder_equals_its_onnx_network(sample):
    image, face = sample
    embedder = Embedder()
    aligned = embedder.align(to_float(image)[None], torch.from_numpy(face.mesh)[None])
    network = cv2.dnn.readNetFromONNX(str(find_weights("mobilefacenet.onnx")))
    network.setInput(255 * aligned.numpy())
    expected = network.forward().ravel()
    assert np.abs(embedder.embed(aligned)[0].numpy() - expected / np.linalg.norm(expected)).max() < 1e-3


@needs_embedder
def test_the_embedder_tells_the_same_person_however_the_picture_is_turned(sample):
    image, face = sample
    embedder = Embedder(supersample=2)
    turn = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), 25, 0.8)
    turned = cv2.warpAffine(image, turn, image.shape[1::-1])
    mesh = face.mesh[:, :2] @ turn[:, :2].T + turn[:, 2]
    one = embedder(to_float(image)[None], torch.from_numpy(face.mesh)[None])
    other = embedder(to_float(turned)[None], torch.from_numpy(mesh.astype(np.float32))[None])
    assert (one * other).sum() > 0.95


@needs_embedder
def test_the_embedder_moves_pictures(sample):
    image, face = sample
    picture = to_float(image)[None].requires_grad_()
    Embedder()(picture, torch.from_numpy(face.mesh)[None])[0, 0].backward()
    assert picture.grad.abs().sum() > 0


def test_an_embedder_without_weights_says_where_they_belong(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEGAN_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="VAEGAN_MODELS"):
        Embedder()


def test_the_landmarker_sees_what_the_tracker_sees(sample):
    image, face = sample
    side = image.shape[0]
    square = np.ascontiguousarray(image[:, :side])
    mesh = torch.from_numpy(face.mesh / side)[None]
    seen, blendshapes = Landmarker()(to_float(square)[None], mesh)
    box = np.ptp(face.mesh[:468, :2], axis=0).max() / side
    assert (seen - mesh[..., :2]).abs().mean() < 0.02 * box
    assert np.abs(blendshapes.sigmoid()[0].numpy() - face.blendshapes).mean() < 0.03


def test_the_landmarker_sees_a_turned_face_turned(sample):
    image, face = sample
    side = image.shape[0]
    square = np.ascontiguousarray(image[:, :side])
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 30, 1)
    mesh = face.mesh[:, :2] @ turn[:, :2].T + turn[:, 2]
    turned = cv2.warpAffine(square, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    seen, _ = Landmarker()(to_float(turned)[None], torch.from_numpy((mesh / side).astype(np.float32))[None])
    box = np.ptp(face.mesh[:468, :2], axis=0).max() / side
    assert np.abs(seen[0].numpy() - mesh / side).mean() < 0.02 * box


def test_the_landmarker_moves_pictures_and_stays_frozen(sample):
    image, face = sample
    critic = Landmarker(jitter=0.03).train()
    side = image.shape[0]
    picture = to_float(np.ascontiguousarray(image[:, :side]))[None].requires_grad_()
    _, blendshapes = critic(picture, torch.from_numpy(face.mesh / side)[None])
    blendshapes.sum().backward()
    assert picture.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in critic.parameters())
    assert not any(m.training for m in critic.modules())


def test_the_landmarker_looks_at_the_same_place_in_mixed_precision():
    landmarker, generator = Landmarker(), torch.Generator().manual_seed(0)
    pictures = torch.rand(1, 3, 64, 64, generator=generator)
    mesh = 0.25 + 0.5 * torch.rand(1, 478, 2, generator=generator)
    places = []
    landmarker.network.register_forward_pre_hook(lambda network, inputs: places.append(inputs[0].float()))
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            landmarker(pictures, mesh)
    assert (places[0] - places[1]).abs().max() < 1e-3
