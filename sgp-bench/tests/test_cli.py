"""The entry points as a user runs them, killed at any moment and run again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

PAPER = Path(__file__).parents[1]
SMALL = (
    "data.test=6",
    "data.letter_test=3",
    "data.moved=3",
    "data.generated=2",
    "data.digits=2",
    "tune.steps=4",
    "tune.save_every=1",
)


def start(script: str, *overrides: str, cwd: Path) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "no_proxy": "*"}
    return subprocess.Popen([sys.executable, str(PAPER / script), *overrides], cwd=cwd, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def call(script: str, *overrides: str, cwd: Path, fails: bool = False) -> str:
    process = start(script, *overrides, cwd=cwd)
    out, err = process.communicate(timeout=600)
    assert (process.returncode != 0) == fails, err
    return err if fails else out


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny) -> tuple[Path, tuple[str, ...], str]:
    """(folder, overrides, what eval.py said) of a whole run whose tuning was killed once."""
    folder = tmp_path_factory.mktemp("run")
    overrides = (*SMALL, f"model.path={tiny}")
    process = start("train.py", *overrides, cwd=folder)
    deadline = time.monotonic() + 300
    while not list((folder / "results" / "parts").glob("tune-*/log.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    call("train.py", *overrides, cwd=folder)
    return folder, overrides, call("eval.py", *overrides, cwd=folder)


def test_the_whole_run_leaves_a_report_metrics_pictures_and_a_page(finished):
    folder, _, said = finished
    results = folder / "results"
    assert {p.name for p in results.iterdir()} >= {
        "report.md", "report.html", "metrics.json", "contact_sheet.png", "categories.png", "consistency.png", "cad.png", "tuning.png", "adapter",  # noqa: E501
    }  # fmt: skip
    assert {p.name for p in folder.iterdir()} == {"results"}  # Hydra leaves nothing behind
    assert "report: results/report.md" in said
    m = json.loads((results / "metrics.json").read_text())
    assert m["data"]["digests in common"] == 0 and m["data"]["answers checked from pixels"] > 0
    assert {c["verdict"] for c in m["claims"]} <= {"shown", "partly", "not shown", "not testable at this scale"}
    report = (results / "report.md").read_text()
    for claim in m["claims"]:
        assert claim["claim"] in report
    for words in ("Wilson 95 %", "95 % by program", "elimination", "no program", "Claude 3.5 Sonnet | 67.4", "κ"):
        assert words.replace("67.4", "67.400") in report or words in report


def test_a_killed_tuning_ends_with_the_adapter_of_an_unbroken_one(finished, tmp_path):
    folder, overrides, _ = finished
    call("train.py", *overrides, cwd=tmp_path)
    name = Path("results/adapter/adapter_model.safetensors")
    assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_second_evaluation_asks_nothing_and_says_the_same(finished):
    folder, overrides, _ = finished
    path = folder / "results" / "metrics.json"
    before = json.loads(path.read_text())
    said = call("eval.py", *overrides, cwd=folder)
    assert ": done in" not in said
    after = json.loads(path.read_text())
    assert {k: v for k, v in before.items() if k != "times"} == {k: v for k, v in after.items() if k != "times"}


class Endpoint(BaseHTTPRequestHandler):
    """Chat completions that count, and stop answering after `hold` until they are let go on."""

    answered: ClassVar[Counter] = Counter()
    hold = 10**9
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with Endpoint.lock:
            if sum(Endpoint.answered.values()) >= Endpoint.hold:
                time.sleep(0.5)
                return
            Endpoint.answered[json.dumps(prompt)] += 1
        message = {"role": "assistant", "content": f"Answer: {'ABCD'[len(str(prompt)) % 4]}"}
        reply = json.dumps({"id": "x", "object": "chat.completion", "created": 0, "model": "mock", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},  # noqa: E501
                            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()  # fmt: skip  # noqa: E501
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


def test_a_killed_evaluation_asks_nothing_twice(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = [{"": i, "Question": f"Look.\n\n<svg viewBox='0 0 9 9'><circle r='{i + 1}'/></svg>\n\nQuestion: What {i}?", "A": "a", "B": "b", "C": "c", "D": "d",  # noqa: E501
             "Answer": "ABCD"[i % 4], "Subject": "Color"} for i in range(30)]  # fmt: skip
    with (tmp_path / "sgp_svg.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    overrides = (
        "data=hub_svg", f"data.source={tmp_path}", "model=endpoint", "scorer=generate", "perturb=none", "model.llm.model=mock",  # noqa: E501
        f"model.llm.base_url=http://127.0.0.1:{server.server_port}/v1", "model.llm.api_key_env=null", "+model.llm.allow_http=true",  # noqa: E501
        "model.llm.limits.concurrency=1",
        "scorer.sampling.max_tokens=256",  # longer ones are streamed, which the mock does not
    )  # fmt: skip
    Endpoint.hold = 12
    process = start("eval.py", *overrides, cwd=tmp_path)
    deadline = time.monotonic() + 300
    while sum(Endpoint.answered.values()) < 12:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    time.sleep(0.3)  # the twelfth is kept before the thirteenth is asked
    process.send_signal(signal.SIGKILL)
    process.wait()
    Endpoint.hold = 10**9
    said = call("eval.py", *overrides, cwd=tmp_path)
    server.shutdown()
    assert len(Endpoint.answered) == 30 and set(Endpoint.answered.values()) == {1}
    assert "report: results/report.md" in said
    m = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert m["categories"]["all"]["n"] == 30 and m["modes"]["official"]["value"] == m["modes"]["strict"]["value"]
    assert (tmp_path / "results" / "report.html").is_file()


def test_refusals_are_one_sentence(tmp_path):
    for overrides, why in (
        (("data=folder",), "data.path"),
        (("data=folder", "data.path=none"), "must be a folder"),
        (("tune.method=boft",), "tune.method must be one of"),
    ):
        said = call("train.py", *overrides, cwd=tmp_path, fails=True)
        assert why in said and len(said.strip().splitlines()) == 1, said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_drawings_becomes_a_question_set(tmp_path):
    drawings = tmp_path / "drawings"
    drawings.mkdir()
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    (drawings / "a.svg").write_text(
        head + '<rect width="100" height="100" fill="green"/><circle cx="50" cy="50" r="20" fill="red"/></svg>'
    )
    (drawings / "b.svg").write_text(head + "<script/></svg>")
    said = call("train.py", "data=folder", f"data.path={drawings}", cwd=tmp_path)
    assert "results/data/folder.jsonl" in said
    items = [json.loads(line) for line in (tmp_path / "results" / "data" / "folder.jsonl").read_text().splitlines()]
    assert len(items) >= 2 and all(i["options"]["ABCD".index(i["answer"])] in ("green", "red", "one") for i in items)
    assert "b.svg" in json.loads((tmp_path / "results" / "data" / "folder.json").read_text())["refused"]
