"""Third-party weights that can be fetched, when the user asks for it: what they are, and the fetching."""

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from vaegan.errors import UserError
from vaegan.faces.weights import weight_folders
from vaegan.media import atomic_path

SECONDS = 30
"""Silence of a server after which it is given up."""


@dataclass(frozen=True)
class Download:
    """A file: what it is for, its licence, address, size in bytes and SHA-256."""

    name: str
    purpose: str
    licence: str
    url: str
    size: int
    sha256: str


DOWNLOADS = (
    Download(
        "face_landmarker.task",
        "Google's Face Landmarker: the face tracker `mediapipe`; needs `pip install 'vaegan[mediapipe]'` too",
        "Apache-2.0",
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        3758596,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    ),
)


def cache_folder() -> Path:
    """The user's cache, the last place where weights are looked for."""
    return weight_folders()[-1]


def fetch(download: Download, folder: Path) -> Path:
    """Download into a folder, made where it is missing; nothing stays there unless all of it arrived unharmed.

    Raises:
        UserError: it cannot be reached, or what arrived is not what is expected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with atomic_path(folder / download.name) as path:
        try:
            with urllib.request.urlopen(download.url, timeout=SECONDS) as source, open(path, "wb") as target:
                while size <= download.size and (part := source.read(1 << 16)):
                    digest.update(part)
                    size += len(part)
                    target.write(part)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            cause = getattr(error, "reason", None) or error
            raise UserError(
                f"{download.url} could not be read ({cause}): check the network, or fetch {download.name} elsewhere "
                f"and put it into {folder}"
            ) from error
        if digest.hexdigest() != download.sha256:
            found, expected = digest.hexdigest()[:12], download.sha256[:12]
            raise UserError(
                f"{download.url} gave {size:,} bytes that are not {download.name} (SHA-256 {found}..., "
                f"not {expected}...): nothing was kept; try again, or from another network"
            )
    return folder / download.name
