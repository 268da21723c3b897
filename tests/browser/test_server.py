"""The server of the page answers this machine alone, only with its files, and takes only weights that fit."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading

import numpy as np
import pytest

import weft
from policy import HANG, needs
from weft.browser import runtime
from weft.browser.server import Server
from weft.browser.site import Site
from weft.cli import main, serve
from weft.models import pretrained
from weft.tfjs.files import read_json

pytestmark = needs("sklearn", "PIL")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page of the digits, with an empty file for the library, so that nothing is fetched."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "lib").mkdir()
    (folder / "lib" / "tf.js").write_text("")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setattr(runtime, "get", lambda engine: folder / "lib")
    server = serve.start("digits-cnn", "tfjs", None, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    patch.undo()


def ask(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=HANG)
    connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
    reply = connection.getresponse()
    return reply.status, dict(reply.getheaders()), reply.read()


def test_the_page_and_its_files_are_served(server):
    status, headers, page = ask(server, "/")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "'unsafe-" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    for path in re.findall(rb'(?:src|href)="(/[^"]+)"', page):
        assert ask(server, path.decode())[0] == 200, path
    assert ask(server, "/", "HEAD")[2] == b""
    with socket.create_connection(("127.0.0.1", server.server_port), 30) as line:
        line.sendall(b"HEAD / HTTP/1.0\r\nHost: example.org\r\n\r\n")
        assert line.makefile("rb").read().endswith(b"\r\n\r\n")  # a refusal has no body either
    about = json.loads(ask(server, "/about.json")[2])
    assert about["engine"] == "tfjs" and about["size"] == 8 and about["figure"] > 0.98
    tested = json.loads(ask(server, "/tested.json")[2])
    assert sorted(tested["labels"]) == sorted(list(range(10)) * 10)
    images = np.frombuffer(base64.b64decode(tested["images"]), "<f4").reshape(100, 8, 8)
    found = pretrained("digits-cnn").probabilities(images)
    np.testing.assert_allclose(found, np.array(tested["probabilities"]), atol=1e-6)


def test_digits_that_are_tried_were_not_trained_on(server):
    tested, known = (json.loads(ask(server, f"/{name}.json")[2])["images"] for name in ("tested", "remembered"))
    rows = [set(map(bytes, np.frombuffer(base64.b64decode(x), "<f4").reshape(100, 64))) for x in (tested, known)]
    assert not rows[0] & rows[1]


@pytest.mark.parametrize("path", [
    "/../server.py", "/..%2fserver.py", "//etc/hostname", "/page.css/", "/index.html", "/?", "/model/../about.json",
    "/weights",
])  # fmt: skip
def test_nothing_else_is_served(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "localhost:1", "127.0.0.1:80"])
def test_a_name_that_was_made_to_point_here_does_not_pass(server, host):
    assert ask(server, "/about.json", Host=host)[0] == 403


def test_the_usual_port_is_not_said(server, monkeypatch):
    """At port 80 a browser sends a bare name as Host and Origin."""
    monkeypatch.setattr(Server, "server_bind", lambda self: setattr(self, "server_port", 80))
    monkeypatch.setattr(Server, "server_activate", lambda self: None)
    with Server(Site("tfjs", server.files), str) as other:
        assert other.hosts == {"127.0.0.1", "localhost"}


def test_a_page_that_is_closed_while_it_loads_is_no_fault(server, capfd):
    for error, shown in ((BrokenPipeError(), False), (ConnectionResetError(), False), (KeyError("a fault"), True)):
        try:
            raise error
        except Exception:
            server.handle_error(None, ("127.0.0.1", 1))
        assert ("a fault" in capfd.readouterr().err) is shown


def test_other_methods_have_no_answer(server):
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(server, "/about.json", method)[0] == 501


def test_only_this_machine_is_answered(server):
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as probe:
        probe.settimeout(5)
        assert probe.connect_ex(("127.0.0.2", server.server_port)) != 0


def weights_json(model, scale=1.0):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        weft.tfjs.export(model, weft.ones((1, 1, 8, 8)), folder)
        arrays = weft.tfjs.read(folder)
    specs = [{"name": name, "shape": list(x.shape), "dtype": "float32"} for name, x in arrays.items()]
    data = base64.b64encode(b"".join((scale * x).astype("<f4").tobytes() for x in arrays.values())).decode()
    return json.dumps({"weightSpecs": specs, "weightData": data})


def post(server, body, **changes):
    host = f"127.0.0.1:{server.server_port}"
    headers = {"Origin": f"http://{host}", "X-Weft-Token": server.token, "Content-Type": "application/json", **changes}
    return ask(server, "/weights", "POST", body, **{key: value for key, value in headers.items() if value is not None})


def test_weights_come_back(server):
    model = pretrained("digits-cnn").model
    status, _, body = post(server, weights_json(model, 2.0))
    assert status == 200
    path = json.loads(body)["kept"]
    assert path.endswith("taught-1.safetensors")
    state = weft.load(path)
    for key, array in model.state_dict().items():
        factor = 1 if key.endswith("num_batches_tracked") else 2
        if factor == 2:
            np.testing.assert_array_equal(state[key], factor * array, err_msg=key)
    assert json.loads(post(server, weights_json(model))[2])["kept"].endswith("taught-2.safetensors")


@pytest.mark.parametrize("changes, status", [
    ({"X-Weft-Token": "guess"}, 403), ({"X-Weft-Token": None}, 403), ({"Origin": "http://example.org"}, 403),
    ({"Origin": None}, 403), ({"Host": "example.org"}, 403), ({"Content-Type": "text/plain"}, 415),
    ({"Content-Length": str(1 << 40)}, 413), ({"Content-Length": "-1"}, 413), ({"Content-Length": "9" * 5000}, 413),
])  # fmt: skip
def test_other_pages_bring_no_weights(server, changes, status):
    assert post(server, "{}", **changes)[0] == status


@pytest.mark.parametrize("body", ["", "[]", "{", '{"weightSpecs": [], "weightData": ""}', '{"weightsManifest": []}',
    '{"weightsManifest": [{"paths": ["/etc/hostname"], "weights": []}]}'])  # fmt: skip
def test_weights_that_do_not_fit_are_named(server, body):
    status, _, answer = post(server, body)
    assert status == 400 and "expected" in json.loads(answer)["error"]


def test_without_data_there_is_a_page_without_digits(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WEFT_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(runtime, "get", lambda engine: tmp_path)
    with serve.start("mnist-cnn", None, None, 0) as server:
        assert json.loads(server.files["/tested.json"][1])["labels"] == []
    assert "weft data get mnist" in capsys.readouterr().out


def test_a_port_that_is_taken_is_named(server, capsys):
    assert main(["serve", "digits-cnn", "--port", str(server.server_port)]) == 1
    assert f"could not listen on port {server.server_port}" in capsys.readouterr().err


def test_a_shard_beside_the_run_is_not_read_for_a_page(server, tmp_path):
    """What a page sends holds its bytes itself; a name of a file in it is refused, though the file be there."""
    pages = json.loads(weights_json(pretrained("digits-cnn").model))
    (tmp_path / "w.bin").write_bytes(base64.b64decode(pages["weightData"]))
    body = json.dumps({"weightsManifest": [{"paths": ["w.bin"], "weights": pages["weightSpecs"]}]})
    assert read_json(body.encode(), tmp_path / "model.json").keys() == {spec["name"] for spec in pages["weightSpecs"]}
    with pytest.raises(weft.tfjs.FileError, match="expected weightSpecs and weightData"):
        read_json(body.encode(), tmp_path / "model.json", others=False)
    assert "expected weightSpecs and weightData" in json.loads(post(server, body)[2])["error"]


def test_runs_of_other_things_are_refused(capsys):
    assert main(["serve", "fashion-cnn", "--port", "0"]) == 1
    assert "drawn characters" in capsys.readouterr().err
    assert main(["serve", "digits-cnn", "--port", "70000"]) == 1
