"""The process that draws: bounded in memory, files and CPU time, with nothing open but its two pipes.

It reads (length, size, seconds) and a program's text from stdin and writes (length, PNG) to stdout; a length of
0xffffffff is followed by a length and a message. Started with `python -I render_worker.py`, so that it imports resvg
and nothing of the package.
"""

import resource
import struct
import sys

FAILED = 0xFFFFFFFF
MEMORY = 1 << 30


def main() -> None:
    import resvg_py

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # stdin, stdout and stderr are open; nothing more can be
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(12):
        length, size, seconds = struct.unpack("<IIf", head)
        text = source.read(length).decode()
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime + seconds) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            picture = resvg_py.svg_to_bytes(
                svg_string=text, width=size, height=size, background="#ffffff", skip_system_fonts=True
            )
            target.write(struct.pack("<I", len(picture)) + picture)
        except BaseException as error:
            message = " ".join(str(error).split())[:300].encode()
            target.write(struct.pack("<II", FAILED, len(message)) + message)
        target.flush()


if __name__ == "__main__":
    main()
