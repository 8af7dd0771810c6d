"""A headless Chromium that tests drive through its own protocol (DevTools, over a pipe)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from tokentrails.explore.server import listen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running(app_of: Callable[[list[str]], Any]) -> Iterator[str]:
    """The address of a server that answers until the block ends."""
    with listen(0) as listener:
        port = listener.getsockname()[1]
        app = app_of([f"127.0.0.1:{port}"])
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


class Browser:
    """One page of a browser of its own; what is asked of it is answered before the next."""

    def __init__(self, folder: Path) -> None:
        read, write = os.pipe(), os.pipe()

        def pipes() -> None:  # those that the browser looks for
            ours = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read[0], write[1])]
            for number, end in enumerate(ours, 3):
                os.dup2(end, number)

        assert CHROMIUM
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # Figures are drawn without the machine's fonts; a browser without any crashes.
        how["env"] = {k: v for k, v in os.environ.items() if k != "FONTCONFIG_FILE"}
        self.process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=pipes, **how)
        os.close(read[0])
        os.close(write[1])
        self._out, self._in = os.fdopen(read[1], "wb", 0), os.fdopen(write[0], "rb")
        self._number, self._session = 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(said["params"]["exceptionDetails"]))
            if said.get("method") == "Log.entryAdded":
                self.errors.append(said["params"]["entry"]["text"])

    def _next(self) -> dict[str, Any]:
        said = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser has ended"
            said += byte
        return json.loads(said)

    def evaluate(self, script: str) -> Any:
        """What a script gives in the page."""
        found = self._evaluated(script)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _evaluated(self, script: str) -> dict[str, Any]:
        how = {"returnByValue": True, "awaitPromise": True}
        return self.call("Runtime.evaluate", expression=script, **how)

    def wait(self, script: str, seconds: float = 30) -> Any:
        """The first true value of a script, which may fail while a page is not built yet."""
        end, failure = time.monotonic() + seconds, None
        while time.monotonic() < end:
            found = self._evaluated(script)
            failure = found.get("exceptionDetails")
            if failure is None and (value := found["result"].get("value")):
                return value
            time.sleep(0.01)
        raise AssertionError(f"never true: {script}; {failure}; {self.errors}")

    def open(self, url: str, seconds: float = 30) -> None:
        """Load a page; the one before it is gone when this returns."""
        end = time.monotonic() + seconds
        for each in ("about:blank", url):  # another fragment alone would not load the page again
            loader = self.call("Page.navigate", url=each)["loaderId"]
            # The answer comes before the page is replaced: the old one could still be asked.
            while self.call("Page.getFrameTree")["frameTree"]["frame"]["loaderId"] != loader:
                assert time.monotonic() < end, f"never loaded: {each}; {self.errors}"
                time.sleep(0.01)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        self.press("Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")

    def press(self, key: str, **more: Any) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **more)

    def click(self, selector: str, *, shift: bool = False) -> None:
        """A click of the mouse in the middle of an element."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            how = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            how["modifiers"] = 8 if shift else 0
            self.call("Input.dispatchMouseEvent", **how)

    def look(self, width: int, *, dark: bool = False) -> None:
        """Show pages at a width in pixels, in light or dark colours."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._out.close()
        self._in.close()
