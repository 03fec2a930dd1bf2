"""Rendering R(s): safe programs to pictures, in a child process that is killed when it takes too long.

resvg reads local image files and follows references for as long as it takes; so only what `parse_svg` let through is
drawn, and that in a process without file handles, with limits on memory, CPU and wall time (render_worker.py).
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw

from .errors import SGPError
from .svg_safe import SvgProgram, parse_svg

WORKER = Path(__file__).with_name("render_worker.py")
FAILED = 0xFFFFFFFF
LARGEST = 4096


class RenderError(SGPError):
    """The program could not be drawn, or took too long."""


class Renderer:
    """One child process, started when it is first needed and again after it was killed. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def png(self, program: SvgProgram | str, size: int = 256, timeout_s: float = 5.0) -> bytes:
        """The drawing on white, its longer side `size` pixels, as PNG.

        Raises:
            UnsafeSvg, MalformedSvg: of the program.
            RenderError: it failed or took longer than `timeout_s`.
        """
        if not 1 <= size <= LARGEST or not 0 < timeout_s < 3600:
            raise RenderError(f"size must be 1 to {LARGEST} pixels and timeout_s positive, not {size} and {timeout_s}")
        program = parse_svg(program) if isinstance(program, str) else program
        text = str(sized(program)).encode()
        with self._lock:
            child = self._running()
            try:
                child.stdin.write(struct.pack("<IIf", len(text), size, timeout_s) + text)  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
                return self._answer(child, time.monotonic() + timeout_s)
            except (BrokenPipeError, EOFError):
                self._kill()
                raise RenderError("the renderer gave up on the program (out of memory or time)") from None
            except TimeoutError:
                self._kill()
                raise RenderError(f"the renderer did not finish within {timeout_s:g} s and was stopped") from None
            except BaseException:
                self._kill()  # what is left in the pipe is of no use
                raise

    def close(self) -> None:
        with self._lock:
            self._kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-I", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "PYTHONHASHSEED": "0"},
                bufsize=0,
            )
        return self._child

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._child = None

    def _answer(self, child: subprocess.Popen[bytes], deadline: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]

            def read(count: int) -> bytes:
                data = b""
                while len(data) < count:
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise TimeoutError
                    part = os.read(child.stdout.fileno(), count - len(data))  # type: ignore[union-attr]
                    if not part:
                        raise EOFError
                    data += part
                return data

            (length,) = struct.unpack("<I", read(4))
            if length != FAILED:
                return read(length)
            message = read(struct.unpack("<I", read(4))[0]).decode(errors="replace")
        raise _Refused(message)


class _Refused(RenderError):
    def __init__(self, message: str):
        super().__init__(f"the renderer refused the program: {message}")


class RendererPool:
    """Several children, for folders of programs."""

    def __init__(self, workers: int | None = None):
        self.renderers = [Renderer() for _ in range(workers or os.cpu_count() or 1)]
        self._free = list(self.renderers)
        self._threads = ThreadPoolExecutor(len(self.renderers))

    def __enter__(self) -> RendererPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for renderer in self.renderers:
            renderer.close()

    def png(
        self, programs: Sequence[SvgProgram | str], size: int = 256, timeout_s: float = 5.0
    ) -> list[bytes | SGPError]:
        """A PNG for each program, or why there is none, in their order."""

        def one(program: SvgProgram | str) -> bytes | SGPError:
            renderer = self._free.pop()
            try:
                return renderer.png(program, size, timeout_s)
            except SGPError as error:
                return error
            finally:
                self._free.append(renderer)

        return list(self._threads.map(one, programs))


_shared = Renderer()
atexit.register(_shared.close)


def render(program: SvgProgram | str, size: int = 256, timeout_s: float = 5.0) -> Image.Image:
    """The drawing on white as an RGB picture; its longer side has `size` pixels. Raises as `Renderer.png`."""
    return Image.open(io.BytesIO(_shared.png(program, size, timeout_s))).convert("RGB")


def sized(program: SvgProgram) -> SvgProgram:
    """Without width and height, which may be in centimetres or per cent: the viewBox alone then shapes the picture."""
    attributes = program.root.attributes
    if "viewBox" not in attributes:
        attributes = attributes | {"viewBox": " ".join(f"{v:g}" for v in program.view_box)}
    if "width" not in attributes and "height" not in attributes and attributes is program.root.attributes:
        return program
    root = program.root.copy()
    root.attributes = {k: v for k, v in attributes.items() if k not in ("width", "height")}
    return SvgProgram(root, program.repairs)


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], columns: int, cell: int = 128) -> Image.Image:
    """Pictures with captions of one line below each, on white."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (cell + 8) + 8, rows * (cell + 24) + 8), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (caption, picture) in enumerate(pictures):
        x, y = 8 + i % columns * (cell + 8), 8 + i // columns * (cell + 24)
        small = picture.convert("RGB")
        small.thumbnail((cell, cell))
        sheet.paste(small, (x, y))
        draw.rectangle((x - 1, y - 1, x + cell, y + cell), outline="#cccccc")
        draw.text((x, y + cell + 2), caption[: cell // 6], fill="black")
    return sheet
