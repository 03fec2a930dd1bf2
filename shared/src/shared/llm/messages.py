"""What is said to a model: messages of text and pictures."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import RequestError

ROLES = ("system", "user", "assistant")
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
DETAILS = (None, "low", "high", "auto")
MAX_IMAGE_BYTES = 20 << 20
MAX_IMAGE_SIDE, MAX_IMAGE_PIXELS = 16_384, 1 << 26  # a small file may decode into a very large picture


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text in a message."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise RequestError(f"text must be a string, not {type(self.text).__name__}")
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise RequestError(f"text holds half of a surrogate pair at character {error.start}") from None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message, sent inline; addresses on the web are refused.

    Caches and recordings know it by the SHA-256 of its bytes, or by `identity` where the caller gives one: a picture
    that is rendered anew on each machine may differ in a few low bits and be the same picture all the same.

    Raises:
        RequestError: empty, larger than 20 MiB, wider or higher than 16384 pixels, of more than 2^26 pixels, or not
            PNG, JPEG or WebP.
    """

    data: bytes
    media_type: str = "image/png"
    detail: Literal["low", "high", "auto"] | None = None
    identity: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise RequestError(
                "a picture is given as bytes (Image.read opens a file); addresses on the web are not fetched"
            )
        if self.media_type not in MEDIA_TYPES:
            raise RequestError(f"media_type must be one of {', '.join(MEDIA_TYPES)}, not {self.media_type!r}")
        if self.detail not in DETAILS:
            raise RequestError(f"detail must be one of {DETAILS}, not {self.detail!r}")
        if len(self.data) > MAX_IMAGE_BYTES:
            raise RequestError(f"a picture of {len(self.data):,} bytes is over the limit of {MAX_IMAGE_BYTES:,}")
        found, width, height = sniff(self.data)
        if found != self.media_type:
            raise RequestError(f"the picture's bytes are {found or 'no PNG, JPEG or WebP'}, not {self.media_type}")
        if not 1 <= min(width, height) <= max(width, height) <= MAX_IMAGE_SIDE or width * height > MAX_IMAGE_PIXELS:
            raise RequestError(
                f"a picture of {width}×{height} pixels: each side must be 1 to {MAX_IMAGE_SIDE}, and there may be at "
                f"most {MAX_IMAGE_PIXELS:,} in all"
            )

    @classmethod
    def read(cls, path: str | Path, *, detail: Any = None, identity: str | None = None) -> Image:
        """The picture in a file; its kind is read from its first bytes."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise RequestError(f"cannot read the picture {path}: {error.strerror}") from error
        found, _, _ = sniff(data)
        if found is None:
            raise RequestError(f"{path} is no PNG, JPEG or WebP picture")
        return cls(data, found, detail, identity)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        _, width, height = sniff(self.data)
        return width, height

    def data_uri(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"

    def __repr__(self) -> str:
        return f"Image({self.media_type}, {len(self.data)} bytes, {self.identity or self.digest[:12]})"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Raises:
        RequestError: unknown role, no parts, or a picture outside a user's turn.
    """

    role: Literal["system", "user", "assistant"]
    parts: tuple[Text | Image, ...]

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise RequestError(f"role must be one of {', '.join(ROLES)}, not {self.role!r}")
        if isinstance(self.parts, str):
            object.__setattr__(self, "parts", (Text(self.parts),))
        object.__setattr__(self, "parts", tuple(Text(p) if isinstance(p, str) else p for p in self.parts))
        if not self.parts or not all(isinstance(p, Text | Image) for p in self.parts):
            raise RequestError("a message needs at least one part, each Text or Image")
        if self.role != "user" and any(isinstance(p, Image) for p in self.parts):
            raise RequestError(f"pictures belong in a user's message, not in one of role {self.role!r}")

    @property
    def text(self) -> str:
        """The text parts joined; pictures are left out."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(p for p in self.parts if isinstance(p, Image))


def system(text: str) -> Message:
    return Message("system", (Text(text),))


def user(*parts: str | Text | Image) -> Message:
    return Message("user", parts)  # type: ignore[arg-type]


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text),))


def sniff(data: bytes) -> tuple[str | None, int, int]:
    """(media type, width, height) from the header of a PNG, JPEG or WebP file; (None, 0, 0) for anything else."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return "image/png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg", *_jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return "image/webp", *_webp_size(data)
    return None, 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        # the frame headers SOF0-SOF15, without DHT, JPG and DAC, which share their range
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
