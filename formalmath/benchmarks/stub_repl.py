"""A stand-in for the Lean REPL's protocol, without any Lean: it answers at once, or after a while, or misbehaves.

    python -S stub_repl.py [--mean SECONDS] [--seed N]

What it answers follows from words in the command: HANG, DIE, GARBAGE, TWICE, HUGE, EXIT137, FAIL, SORRY, UNKNOWN.
Nothing that it says is a verdict of Lean; it exists to test and time the plumbing around a REPL.
"""

import json
import os
import random
import sys
import time


def message(severity, line, data, env):
    """An answer with one message, on several lines as the REPL prints it."""
    head = f'{{"messages":\n [{{"severity": "{severity}",\n   "pos": {{"line": {line}, "column": 0}},\n   '
    return f'{head}"data": {json.dumps(data)}}}],\n "env": {env}}}'


def reply(command, env):
    text = command.get("cmd", "")
    if text.startswith("#print axioms "):
        return message("info", 1, f"'{text[len('#print axioms ') :]}' depends on axioms: [propext]", env)
    if "HANG" in text:
        time.sleep(3600)
    if "DIE" in text:
        os._exit(1)
    if "EXIT137" in text:
        sys.stderr.write("std::bad_alloc\n")
        sys.stderr.flush()
        os._exit(1)
    if "GARBAGE" in text:
        return "lean: what?"
    if "TWICE" in text:
        return f'{{"env": {env}}}\n\n{{"env": {env}}}'
    if "HUGE" in text:
        return f'{{"env": {env}, "messages": [], "x": "{"a" * (40 << 20)}"}}'
    if "UNKNOWN" in text:
        return '{"message": "Unknown environment."}'
    if "FAIL" in text:
        return message("error", 99, "linarith failed", env)
    if "SORRY" in text:
        return message("warning", 99, "declaration uses 'sorry'", env)
    return f'{{"env": {env}}}'


def main():
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    mean, rng = float(options.get("--mean", 0)), random.Random(int(options.get("--seed", 0)))
    read, write, flush = sys.stdin.readline, sys.stdout.write, sys.stdout.flush
    env, lines, served = 0, [], 0.0
    while True:
        line = read()
        if not line:
            return
        if line.strip():
            lines.append(line)
            continue
        if not lines:
            continue
        command = json.loads("".join(lines))
        lines = []
        if command.get("cmd") == "SERVED":
            write(f'{{"env": {env}, "served": {served!r}}}')
        else:
            if mean:
                begun = time.perf_counter()
                time.sleep(rng.expovariate(1 / mean))
                served += time.perf_counter() - begun
            write(reply(command, env))
        write("\n\n")
        flush()
        env += 1


main()
