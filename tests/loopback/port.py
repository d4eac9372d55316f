"""A loopback port that outlives the server behind it."""

import socket
import threading


class Port:
    """A loopback port that stays the same while the server behind it is killed and comes back on another one."""

    def __init__(self) -> None:
        self.target = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for source, drain in ((near, far), (far, near)):
                threading.Thread(target=self._pour, args=(source, drain), daemon=True).start()

    def _pour(self, source: socket.socket, drain: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                drain.sendall(data)
        except OSError:
            pass  # The other direction ended both, or the server was killed: either way the connection is over.
        for end in (source, drain):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        source.close()

    def close(self) -> None:
        """No further connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
