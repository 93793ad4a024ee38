"""Keys of a device that nobody keeps: for people, whose apps are not what is tested.

The library's own stores bind their tables for the whole process, which two clients in two threads must not do at once.
"""

from typing import Any

from nio.crypto import DeviceStore, GroupSessionStore, SessionStore, TrustState


class MemoryStore:
    """What the library wants of a store."""

    def __init__(self, *_names: str) -> None:
        self._groups = GroupSessionStore()

    def load_account(self) -> None:
        return None

    def load_sessions(self) -> SessionStore:
        return SessionStore()

    def load_inbound_group_sessions(self) -> GroupSessionStore:
        return self._groups

    def load_device_keys(self) -> DeviceStore:
        return DeviceStore()

    def load_encrypted_rooms(self) -> set[str]:
        return set()

    def load_outgoing_key_requests(self) -> dict[str, Any]:
        return {}

    def save_inbound_group_session(self, session: Any) -> None:
        self._groups.add(session)

    def _nothing(self, *_what: Any) -> None:
        """What is in memory stays there."""

    save_account = save_session = save_device_keys = save_encrypted_rooms = _nothing
    add_outgoing_key_request = remove_outgoing_key_request = _nothing

    def ignore_devices(self, devices: list[Any]) -> None:
        for device in devices:
            device.trust_state = TrustState.ignored

    def blacklist_device(self, device: Any) -> bool:
        device.trust_state = TrustState.blacklisted
        return True

    def is_device_verified(self, device: Any) -> bool:
        return bool(device.trust_state == TrustState.verified)

    def is_device_blacklisted(self, device: Any) -> bool:
        return bool(device.trust_state == TrustState.blacklisted)

    def is_device_ignored(self, device: Any) -> bool:
        return bool(device.trust_state == TrustState.ignored)
