"""Content credentials (C2PA): a signed manifest in a file, and what a file says of how it was made."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaegan import __version__
from vaegan.errors import UserError
from vaegan.media.container import open_media
from vaegan.media.files import atomic_path, input_file, reason
from vaegan.media.images import encode_image, frame_files, image_info
from vaegan.media.statement import TRAINED_MEDIA

SIGNED_SUFFIXES = {".mp4", ".m4v", ".mov", ".gif", ".webp", ""}
"""Of videos that have a place for a manifest; "" stands for a folder of PNG files."""

# No picture of the result in its manifest; nothing is fetched when one is read.
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False}}


@dataclass(frozen=True)
class Manifest:
    """What a C2PA manifest says.

    valid: whether it is whole and belongs to this file; trusted: whether its signer is on the C2PA trust list
    signer: name in the certificate; tool: what made the claim; created: IPTC source types of `c2pa.created` actions
    """

    valid: bool
    trusted: bool
    signer: str
    tool: str
    created: tuple[str, ...]


def signing(credentials: str | os.PathLike, output: str | os.PathLike, comment: str) -> Callable[[Path], None]:
    """What signs a file, or every file of a folder, in place.

    credentials: a PEM file with a private key and its certificate chain, the signer's first. output: what will be
    signed. comment: what the action says besides that a trained model made it.
    Raises UserError where that cannot sign, which is tried, or the output has no place for a manifest.
    """
    suffix = "" if Path(output).is_dir() else Path(output).suffix.lower()
    if suffix not in SIGNED_SUFFIXES:
        known = ", ".join(sorted(filter(None, SIGNED_SUFFIXES)))
        raise UserError(f"{output}: {suffix} has no place for a signed manifest; use {known} or a folder of frames")
    c2pa = _library()
    key, chain, algorithm = _credentials(credentials)
    manifest = {
        "claim_generator_info": [{"name": "vaegan", "version": __version__}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": TRAINED_MEDIA,
                            "softwareAgent": {"name": "vaegan", "version": __version__},
                            "description": comment,
                        }
                    ]
                },
            }
        ],
    }

    def sign_bytes(kind: str, source: Any, target: Any) -> None:
        try:
            signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, key, None))
            c2pa.Builder(manifest, c2pa.Context.from_dict(_SETTINGS)).sign(signer, kind, source, target)
        except c2pa.C2paError as error:
            raise UserError(f"{credentials} cannot sign: {reason(error)}") from error

    def sign(path: Path) -> None:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            with atomic_path(file) as signed, file.open("rb") as source, signed.open("w+b") as target:
                sign_bytes(file.suffix.lower().removeprefix("."), source, target)

    sign_bytes("image/png", io.BytesIO(encode_image(np.zeros((1, 1, 3), np.uint8))), io.BytesIO())
    return sign


def read_manifest(path: str | os.PathLike) -> Manifest | None:
    """The manifest of a file, or of the first in a folder; None where there is none or no place for one. UserError."""
    c2pa = _library()
    file = frame_files(Path(path))[0] if Path(path).is_dir() else path
    try:
        with c2pa.Reader(str(file), context=c2pa.Context.from_dict(_SETTINGS)) as reader:
            active, state = reader.get_active_manifest() or {}, reader.get_validation_state()
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return None
    except c2pa.C2paError as error:
        raise UserError(f"{path}: its manifest cannot be read ({reason(error)})") from error
    actions = [a for part in active.get("assertions", []) for a in (part.get("data") or {}).get("actions", [])]
    tool = next(iter(active.get("claim_generator_info", [])), {})
    return Manifest(
        valid=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        signer=str((active.get("signature_info") or {}).get("common_name", "an unnamed signer")),
        tool=f"{tool.get('name', 'an unnamed tool')} {tool.get('version', '')}".strip(),
        created=tuple(str(a.get("digitalSourceType")) for a in actions if a.get("action") == "c2pa.created"),
    )


def statements(path: str | os.PathLike) -> list[str]:
    """What a video, a picture, or the first file of a folder of them, says of itself: comments, and what XMP tells.

    Raises UserError: it cannot be read.
    """
    file = frame_files(Path(path))[0] if Path(path).is_dir() else path
    try:
        with open_media(file) as container:
            said = [text for name, text in container.metadata.items() if name.lower() in ("comment", "description")]
    except UserError:
        said = []
    if not said:
        try:
            said = _of_picture(image_info(file))
        except UserError:
            with open_media(file):  # neither: as of a video, which is what was asked for
                pass
    return [" ".join(text.split()) for text in dict.fromkeys(said)]


def _of_picture(info: dict[str, Any]) -> list[str]:
    said = [info[name] for name in ("comment", "Comment", "Description") if name in info]
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or ""
    said = [_text(text) for text in said]
    kinds = re.findall(r"DigitalSourceType(?:=\"|>)([^\"<]+)", _text(xmp))
    told = re.findall(r"<dc:description>.*?<rdf:li[^>]*>([^<]+)", _text(xmp), flags=re.DOTALL)
    return [*said, *told] or kinds


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _library():
    try:
        import c2pa
    except ImportError as error:
        raise UserError("signed manifests need the extra provenance: pip install 'vaegan[provenance]'") from error
    return c2pa


def _credentials(path: str | os.PathLike) -> tuple[bytes, bytes, str]:
    """Private key and certificate chain in PEM, and the algorithm that the key is for."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    data = input_file(path, "a PEM file").read_bytes()
    blocks = list(re.finditer(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", data, flags=re.DOTALL))
    keys = [block[0] for block in blocks if block[1].endswith(b"PRIVATE KEY")]
    chain = [block[0] for block in blocks if block[1] == b"CERTIFICATE"]
    if len(keys) != 1 or not chain:
        raise UserError(f"{path} needs one private key and its certificates, in PEM: cat key.pem chain.pem > {path}")
    try:
        key = serialization.load_pem_private_key(keys[0], None)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: its private key cannot be read ({reason(error)}); it must have no password"
        ) from error
    kinds = {ed25519.Ed25519PrivateKey: "ed25519", rsa.RSAPrivateKey: "ps256"}
    algorithm = next((name for kind, name in kinds.items() if isinstance(key, kind)), None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = {256: "es256", 384: "es384", 521: "es512"}.get(key.curve.key_size)
    if algorithm is None:
        raise UserError(f"{path}: C2PA takes keys of the kinds P-256, P-384, P-521, Ed25519 and RSA")
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, b"\n".join(chain) + b"\n", algorithm
