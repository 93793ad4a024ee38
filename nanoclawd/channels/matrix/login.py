"""Logs the account in, once: afterwards the device that the homeserver made for it is used."""

import hashlib
import logging
import secrets
from typing import Any, Final
from urllib.parse import urlsplit

from nanoclawd.channels.matrix.options import Options, is_user_id
from nanoclawd.channels.matrix.requests import Requests, TokenRefused, place
from nanoclawd.channels.matrix.state import Device, Store
from nanoclawd.errors import NanoclawError, Refused, Unavailable

log = logging.getLogger(__name__)

_WELL_KNOWN: Final = "/.well-known/matrix/client"


async def log_in(name: str, options: Options, secret: str, store: Store) -> Device:
    """Return the device that the channel is, made now if need be.

    Raises:
        Refused: the homeserver does not take the credential; the hint says how the channel ``name`` gets another.
        Unavailable: it can't be asked.
    """
    try:
        return await _log_in_if_need_be(options, secret, store)
    except Refused as error:
        raise Refused(error.message, hint=f"ncl channels login {name}") from error


async def _log_in_if_need_be(options: Options, secret: str, store: Store) -> Device:
    address = await _address(options.homeserver)
    known = store.device()
    digest = hashlib.sha256(f"{known.pickle_key if known else ''}{secret}".encode()).hexdigest()
    if known is not None and known.address == address and (options.login == "password" or known.secret_hash == digest):
        try:
            await _whoami(address, known.token)
        except TokenRefused:
            if options.login != "password":
                raise
            log.info("the account was logged out; logging in again")
            return await _log_in(options, secret, address, known, store)
        return known
    return await _log_in(options, secret, address, known if known and known.address == address else None, store)


async def _log_in(options: Options, secret: str, address: str, known: Device | None, store: Store) -> Device:
    if options.login == "token":
        user_id, device_id = await _whoami(address, secret)
        token = secret
    else:
        answer = await _ask_for_device(options, secret, address, known)
        user_id, device_id, token = (_text(answer, key) for key in ("user_id", "device_id", "access_token"))
    if known is None or (known.user_id, known.device_id) != (user_id, device_id):
        store.forget_device()
        known = None
    key = known.pickle_key if known is not None else secrets.token_hex(16)
    digest = hashlib.sha256(f"{key}{secret}".encode()).hexdigest()
    device = Device(address, user_id, device_id, token, key, digest)
    store.keep_device(device)
    log.info("logged in as %s, device %s", user_id, device_id)
    return device


async def _ask_for_device(options: Options, secret: str, address: str, known: Device | None) -> dict[str, Any]:
    body: dict[str, object] = {"initial_device_display_name": options.device_name}
    if options.login == "password":
        body |= {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": options.user},
            "password": secret,
        }
    else:
        body |= {"type": "m.login.token", "token": secret}
    if known is not None:
        body["device_id"] = known.device_id  # the same device, whose keys people know
    requests = Requests(address)
    try:
        return await requests.ask("POST", place("login"), body)
    except Refused as error:
        raise Refused(f"the login was refused: {error.message}") from error
    finally:
        await requests.close()


async def _whoami(address: str, token: str) -> tuple[str, str]:
    requests = Requests(address, token)
    try:
        answer = await requests.ask("GET", place("account", "whoami"))
    finally:
        await requests.close()
    return _text(answer, "user_id"), _text(answer, "device_id")


async def _address(homeserver: str) -> str:
    """Return the homeserver's address, asked of the server of its name where the configuration has only that."""
    if "://" in homeserver:
        return homeserver.rstrip("/")
    requests = Requests(f"https://{homeserver}")
    try:
        found = (await requests.ask("GET", _WELL_KNOWN)).get("m.homeserver")
    except Unavailable:
        raise
    except NanoclawError:
        return f"https://{homeserver}"  # it has no such file: it is the homeserver itself
    finally:
        await requests.close()
    address = found.get("base_url") if isinstance(found, dict) else None
    if not isinstance(address, str) or urlsplit(address).scheme != "https":
        raise Refused(f"https://{homeserver}{_WELL_KNOWN} names no homeserver")
    return address.rstrip("/")


def _text(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not value or (key == "user_id" and not is_user_id(value)):
        raise Refused(f"the homeserver does not tell the account's {key.replace('_', ' ')}")
    return value
