"""The control side from another process: ``Remote(port).write(chat=…, user=…, text=…)``."""

import json
import urllib.error
import urllib.request
from typing import Any


class Remote:
    """Each of its methods is one of the server's control side."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/control"

    def __getattr__(self, name: str) -> Any:
        def act(**args: Any) -> Any:
            body = json.dumps({"do": name, "args": args}).encode()
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=args.get("seconds", 20) + 10) as answer:
                    return json.load(answer)["result"]
            except urllib.error.HTTPError as error:
                raise AssertionError(json.load(error)["error"]) from None

        return act
