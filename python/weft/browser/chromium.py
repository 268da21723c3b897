"""Chromium without a window, driven by the DevTools protocol over two pipes.

with Chrome(tmp_path) as chrome:
    chrome.open("http://127.0.0.1:8710/")
    chrome.wait("document.body.dataset.ready")
    chrome.value("1 + 1")
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-extensions", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--force-color-profile=srgb",
]  # fmt: skip
SECONDS = 120  # the longest that an answer may take


def find() -> str | None:
    """The path of Chromium or of a browser made of it, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Chromium:
    """One browser with one page. `messages` are its faults, and what its policies stopped.

    width, height: of the window, in pixels; dark: the colour scheme it asks for.
    webgl: on a graphics card that the processor imitates, which takes seconds; else there is none.
    FileNotFoundError where there is no Chromium.
    """

    def __init__(self, *, width: int = 1000, height: int = 1000, dark: bool = False, webgl: bool = False):
        program = find()
        if program is None:
            raise FileNotFoundError("Chromium: expected the command chromium, got none; on Debian: "
                                    "apt-get install chromium")  # fmt: skip
        # Its processes may still write there when it has ended.
        self.profile = tempfile.TemporaryDirectory(prefix="weft-chromium-", ignore_cleanup_errors=True)
        to_child, self.out = os.pipe()
        self.into, from_child = os.pipe()
        # A container's root has no sandbox to put a browser in; the pages here are this project's own.
        flags = [*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else []), f"--user-data-dir={self.profile.name}"]
        flags += ["--enable-unsafe-swiftshader"] if webgl else ["--disable-gpu", "--disable-software-rasterizer"]
        script = f'exec "$@" 3<&{to_child} 4>&{from_child}'
        command = ["bash", "-c", script, "bash", program, *flags, "about:blank"]
        self.process = subprocess.Popen(command, pass_fds=(to_child, from_child), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self.count, self.rest, self.session = 0, b"", ""
        self.messages: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)
        os.close(self.out)
        os.close(self.into)
        self.profile.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command of the protocol; RuntimeError if there is an error in its place."""
        self.count += 1
        asked: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session:
            asked["sessionId"] = self.session
        os.write(self.out, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.note(answer)

    def next(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self.rest:
            if not select.select([self.into], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium: no answer in {SECONDS} s")
            got = os.read(self.into, 1 << 20)
            if not got:
                raise RuntimeError(f"Chromium ended with {self.process.wait(5)}")
            self.rest += got
        text, _, self.rest = self.rest.partition(b"\0")
        event: dict[str, Any] = json.loads(text)
        return event

    def note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.messages.append(details.get("exception", {}).get("description") or details["text"])
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            entry = params["entry"]
            self.messages.append(f"{entry['text']} {entry.get('url', '')}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What an expression, or the promise that it is, comes to, as JSON."""
        made = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in made:
            raise RuntimeError(f"{script}: {made['exceptionDetails']}")
        return made["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> Any:
        """Ask again until the expression is true; its value."""
        end = time.monotonic() + seconds
        while not (value := self.value(script)):
            if time.monotonic() > end:
                says = self.value("document.body.innerText")
                raise TimeoutError(f"{script}: not in {seconds} s; the page says {says!r}, its console {self.messages}")
            time.sleep(0.05)
        return value

    def mouse(self, points: list[tuple[float, float]]) -> None:
        """Press the button at the first point, move along the others, and let it go."""
        for i, (x, y) in enumerate(points):
            kind = "mouseMoved" if i else "mousePressed"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        x, y = points[-1]
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def key(self, key: str, code: int) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
