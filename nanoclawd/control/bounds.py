"""What one client of the control socket may cost the daemon."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of the control socket.

    Attributes:
        frame_bytes: a call's length, without its NUL.
        read_ahead_bytes: pipelined calls that are read while one is worked on; the rest waits in the client's socket.
        half_frame_seconds: from a call's first byte to its last.
        idle_seconds: between calls; a stream is never idle.
        write_seconds: until a client must have read what was written to it.
        waiting_events: events of one chat screen that wait to be written.
        connections: at the same time, of everybody.
        connections_per_user: at the same time, of one uid.
        stop_seconds: for calls in progress when the server stops.
    """

    frame_bytes: int = MIB
    read_ahead_bytes: int = 64 * KIB
    half_frame_seconds: float = 15.0
    idle_seconds: float = 300.0
    write_seconds: float = 15.0
    waiting_events: int = 256
    connections: int = 256
    connections_per_user: int = 64
    stop_seconds: float = 5.0
