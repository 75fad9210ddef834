"""An OpenAI-compatible chat server in a process of its own, that misbehaves on demand.

    python chat_server.py PORT MODE

Prints one line once it listens. MODE: see `answer`. What was asked is appended, as JSON lines, to the file in
CHAT_SERVER_LOG.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXTS = ("title", "summary", "prompt", "negative_prompt", "mood", "camera_movement")


def story(scenes: int) -> dict[str, Any]:
    made = [{name: f"{name} of {number}" for name in TEXTS} for number in range(1, scenes + 1)]
    return {"title": "The Fox", "logline": "A fox goes home.", "directors_vision": "Red on white.", "scenes": made}


class Handler(BaseHTTPRequestHandler):
    mode = ""
    asked = 0

    def log_message(self, *given: object) -> None:
        pass

    def send(self, status: int, body: str, kind: str = "application/json") -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def say(self, text: str) -> None:
        self.send(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}))

    def do_GET(self) -> None:
        if self.mode == "sick":
            self.send(500, "{}")
        elif self.mode == "no list":
            self.send(200, json.dumps({"hello": 1}))
        elif self.mode == "html list":
            self.send(200, "<html>", "text/html")
        elif self.path.endswith("/models"):
            models = [{"id": "a"}, {"id": "b"}]
            self.send(200, json.dumps({"models" if self.mode == "ollama" else "data": models}))
        else:
            self.send(404, "{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.asked += 1
        if os.environ.get("CHAT_SERVER_LOG"):
            with open(os.environ["CHAT_SERVER_LOG"], "a") as log:
                log.write(json.dumps({"path": self.path, **body}) + "\n")
        if not self.path.endswith("/v1/chat/completions"):
            self.send(404, "{}")
            return
        self.answer(body, Handler.asked)

    def answer(self, body: dict[str, Any], number: int) -> None:
        mode, good = self.mode, json.dumps(story(3))
        if mode == "no schema" and "response_format" in body:
            self.send(400, json.dumps({"error": "response_format is not supported"}))
        elif mode == "prose":
            self.say("Once upon a time there was a fox who went home.")
        elif mode == "repaired" and number == 1:
            self.say("Here is a story about a fox. I hope that you like it!")
        elif mode == "html":
            self.send(200, "<!doctype html><h1>Welcome</h1>", "text/html")
        elif mode == "half":
            self.say(good[: len(good) // 2])
        elif mode == "twenty":
            self.say(json.dumps(story(20)))
        elif mode == "one":
            self.say(json.dumps(story(1)))
        elif mode == "fenced":
            self.say(f"<think>A {{fox}}?</think>Sure!\n```json\n{json.dumps(story(3), indent=1)}\n```\nEnjoy.")
        elif mode == "empty prompt":
            told = story(3)
            told["scenes"][1]["prompt"] = ""
            self.say(json.dumps(told))
        elif mode == "silent":
            time.sleep(60)
        elif mode == "broken":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        elif mode in ("401", "503"):
            self.send(int(mode), json.dumps({"error": "go away"}))
        elif mode == "huge":
            self.say("x" * 10_000_000)
        elif mode in ("stream", "half stream"):
            pieces = [good[at : at + 40] for at in range(0, len(good), 40)]
            lines = [f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\n\n" for piece in pieces]
            text = "".join(lines) + "data: [DONE]\n\n"
            self.send(200, text if mode == "stream" else text[: len(text) // 2], "text/event-stream")
        else:
            self.say(good)


if __name__ == "__main__":
    Handler.mode = sys.argv[2]
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
