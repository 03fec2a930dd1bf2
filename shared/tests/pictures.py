"""Small pictures, made by hand: nothing here needs a library for images."""

from __future__ import annotations

import struct
import zlib


def png(shade: int = 0, width: int = 2, height: int = 1) -> bytes:
    """A whole grey PNG."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([shade]) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int = 3, height: int = 5) -> bytes:
    """A JPEG's beginning: a comment, a table, and the frame header that tells its size."""
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"note"
    table = b"\xff\xc4" + struct.pack(">H", 3) + b"\0"
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8" + comment + table + frame


def webp(kind: bytes, width: int = 3, height: int = 5) -> bytes:
    """A WebP's beginning, in each of its three formats."""
    if kind == b"VP8X":
        body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif kind == b"VP8L":
        body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(5)
    else:
        body = b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body
