"""A TCP proxy that can stop forwarding without closing: what a half-open connection looks like from its living end."""

import contextlib
import selectors
import socket
import threading


class StallingProxy:
    """Forwards every connection to a loopback port until `stall`; then it takes in what comes, and hands on nothing."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._wake, self._woken = socket.socketpair()
        self._flows = threading.Event()
        self._flows.set()
        self._loop = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="stalling-proxy", daemon=True)
        self._thread.start()

    def stall(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        """Forward again what comes from now on; what came meanwhile is lost, and new connections are whole."""
        self._flows.set()

    def _run(self) -> None:
        self._loop.register(self._listener, selectors.EVENT_READ)
        self._loop.register(self._woken, selectors.EVENT_READ)
        while True:
            for key, _ in self._loop.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._woken:
                    return
                if source is self._listener:
                    self._accept()
                elif source in self._pairs:
                    self._forward(source)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(self._target)
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            self._loop.register(one, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        target = self._pairs[source]
        try:
            data = source.recv(65536)
            if data and self._flows.is_set():
                target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (source, target):
                del self._pairs[end]
                self._loop.unregister(end)
                end.close()

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join(5)
        for end in (*self._pairs, self._listener, self._wake, self._woken):
            with contextlib.suppress(OSError):
                end.close()
        self._loop.close()
