"""`dnamdlm export push=OWNER/NAME`: what a hub gets, and what is refused beforehand."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import dnamdlm
from dnamdlm.assembly.exporting import ExportSettings, export
from dnamdlm.errors import ConfigError

HOME = {"HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_of_a_test", "HF_HUB_DISABLE_TELEMETRY": "1"}
constants = pytest.importorskip("huggingface_hub.constants", reason="needs huggingface_hub")


class Hub(BaseHTTPRequestHandler):
    """A hub that takes every file within a commit, and keeps what it was sent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing is logged."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub = self.server
        hub.tokens.add(self.headers.get("Authorization"))
        if hub.refuses:
            return self.answer(403, {"error": "no rights"})
        if self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            return self.answer(200, {"url": f"{hub.address}/me/yeast", "id": "me/yeast"})
        if self.path == "/api/models/me/yeast/preupload/main":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if self.path.startswith("/api/models/me/yeast/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"{hub.address}/me/yeast/commit/{'a' * 40}"
            return self.answer(200, {"success": True, "commitOid": "a" * 40, "commitUrl": address})
        if self.path.startswith("/api/validate-yaml"):
            return self.answer(200, {"errors": [], "warnings": []})
        return self.answer(404, {"error": self.path})

    def do_GET(self):
        self.answer(404, {"error": self.path})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    server.made, server.files, server.tokens, server.refuses = [], {}, set(), False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def pushed(hub, out):
    words = ["export", "model=yeast-demo", f"out={out}", "push=me/yeast"]
    return subprocess.run(
        [sys.executable, "-m", "dnamdlm", *words], capture_output=True, text=True, check=False,
        env=os.environ | HOME | {"HF_ENDPOINT": hub.address, "HF_HOME": str(out.parent / "hf")},
    )  # fmt: skip


@pytest.mark.slow
def test_a_hub_gets_every_file_of_the_folder_in_a_private_repository(hub, tmp_path):
    done = pushed(hub, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"uploaded to {hub.address}/me/yeast/commit/{'a' * 40}" in done.stdout
    (made,) = hub.made
    assert (made["name"], made["organization"]) == ("yeast", "me")
    # the key differs between versions of huggingface_hub.
    assert made.get("private") is True or made.get("visibility") == "private"
    assert hub.files == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert hub.tokens == {"Bearer hf_of_a_test"}


@pytest.mark.slow
def test_a_hub_that_refuses_is_named_and_the_folder_stays(hub, tmp_path):
    hub.refuses = True
    done = pushed(hub, tmp_path / "out")
    assert done.returncode == 2
    assert "was written and not uploaded, the Hugging Face hub does not take it (" in done.stderr
    assert done.stderr.count("\n") == 1
    assert dnamdlm.load(tmp_path / "out", device="cpu").window_length == 256


def refused(tmp_path, push="me/yeast"):
    with pytest.raises(ConfigError) as caught:
        export(ExportSettings("yeast-demo", str(tmp_path / "out"), push=push))
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("name", ["yeast", "me/yeast/x", "me/", "http://x/y", "me/ye ast"])
def test_a_name_that_no_hub_has_is_refused(tmp_path, name):
    assert refused(tmp_path, name) == f"push={name} is not a name of the hub; give OWNER/NAME"


def test_without_network_or_login_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no"))
    assert "run hf auth login" in refused(tmp_path)
