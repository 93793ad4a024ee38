"""Images are built on this machine by quadlet ``.build`` units of the user manager.

A tag is the hash of the Containerfile and the base image's name. After an upgrade that changes one of them the old
image stays in use until the new one is built, so an upgrade never leaves an agent without an image.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from nanoclawd.config import Config
from nanoclawd.errors import NanoclawError, NotFound
from nanoclawd.journal import Event, about
from nanoclawd.paths import StatePaths
from nanoclawd.store import agent_groups, images
from nanoclawd.store.database import Database
from nanoclawd.supervision.quadlets import ImageBuild, UnitFiles
from nanoclawd.supervision.user_manager import UserManager

log = logging.getLogger(__name__)

STAGES: Final = ("agent", "agent-claude", "model")
_STAGE_OF_PROVIDER: Final = {"claude": "agent-claude"}
"""Providers whose client is not in the common agent image."""

BUILD_TIMEOUT_SECONDS: Final = 3600.0
_MODEL_IDLE_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class BuildStep:
    """A point of a build: the image, its number of how many, and whether it is done."""

    image: str
    stage: int
    stages: int
    done: bool


class ImageService:
    """The appliance's images. ``published`` is awaited when another agent image is to be used."""

    def __init__(
        self,
        config: Config,
        paths: StatePaths,
        database: Database,
        manager: UserManager,
        units: UnitFiles,
        share: Path,
    ) -> None:
        self._config = config
        self._paths = paths
        self._database = database
        self._manager = manager
        self._units = units
        self._share = share
        self._building: dict[str, asyncio.Lock] = {stage: asyncio.Lock() for stage in STAGES}
        self.published: Callable[[], Awaitable[None]] = _nothing

    def wanted_tag(self) -> str:
        """Return the tag of the present Containerfile and base image."""
        text = (self._share / "Containerfile").read_bytes()
        return hashlib.sha256(text + b"\0" + self._config.images.base.encode()).hexdigest()[:12]

    async def reference(self, stage: str) -> str:
        """Return the image in use: the newest that was built, or the one that is to be."""
        tag = await self._database.run(images.current_tag, stage)
        return _reference(stage, tag or self.wanted_tag())

    async def by_provider(self) -> dict[str, str]:
        """Return the images in use of the providers that have one of their own."""
        return {provider: await self.reference(stage) for provider, stage in _STAGE_OF_PROVIDER.items()}

    async def used(self) -> tuple[str, ...]:
        """Return the images that this appliance needs: an agent image that is no group's is never built (F-202)."""
        return tuple([stage for stage in STAGES if stage == "model" or await self._database.run(self._is_used, stage)])

    async def missing(self, group: str) -> str:
        """Return the command that builds a group's image where it is missing, else an empty text.

        Raises:
            NotFound: there is no such group.
        """
        row = await self._database.run(agent_groups.by_folder, group)
        stage = stage_of(row.provider or self._config.provider)
        return "" if await self.present(stage) else f"ncl images build {stage}"

    def _is_used(self, connection: apsw.Connection, stage: str) -> bool:
        if images.current_tag(connection, stage) is not None:
            return True
        providers = {group.provider or self._config.provider for group in agent_groups.every(connection)}
        return stage == "agent" or stage in {stage_of(provider) for provider in {*providers, self._config.provider}}

    async def present(self, stage: str) -> bool:
        """Tell whether the image in use is there. Asks podman, so it is no part of a message's way."""
        result = await self._manager.run_transient(
            f"nanoclaw-image-{stage}-look.service",
            ["/usr/bin/podman", "image", "exists", await self.reference(stage)],
            f"See whether the {stage} image is there",
        )
        if result != "done":
            log.error("the %s image is missing", stage, extra=about(event=Event.IMAGE_MISSING))
        return result == "done"

    def is_building(self, stage: str) -> bool:
        """Tell whether a build runs."""
        return self._building[stage].locked()

    async def write_units(self) -> bool:
        """Write the build units and the model's; True when the user manager has to be reloaded."""
        model = await self.reference("model")
        return await asyncio.to_thread(self._write_units, model)

    async def build(self, name: str | None) -> AsyncGenerator[BuildStep]:
        """Build one image or all that are used, one after the other.

        Raises:
            NotFound: there is no such image.
            NanoclawError: the build failed.
        """
        if name is not None and name not in STAGES:
            raise NotFound(f"there is no image {name[:40]!r}; there are: {', '.join(STAGES)}", hint="ncl images list")
        stages = await self.used() if name is None else (name,)
        for number, stage in enumerate(stages, start=1):
            yield BuildStep(stage, number, len(stages), done=False)
            await asyncio.shield(asyncio.ensure_future(self._build(stage)))
            yield BuildStep(stage, number, len(stages), done=True)

    async def _build(self, stage: str) -> None:
        async with self._building[stage]:
            if await self.write_units():
                await self._manager.reload()
            unit = f"nanoclaw-image-{stage}-build.service"
            await self._manager.reset_failed(unit)
            result = await self._manager.start_unit(unit, BUILD_TIMEOUT_SECONDS)
            if result != "done":
                raise NanoclawError(
                    f"the {stage} image could not be built ({result})",
                    hint=f"journalctl _SYSTEMD_USER_UNIT={unit} -n 50",
                )
            await self._database.run(images.set_current, stage, self.wanted_tag())
            await self._prune(stage)
            if await self.write_units():
                await self._manager.reload()
        if stage == "model":
            await self._manager.stop_unit("nanoclaw-model-proxy.service")
            await self.start_model_socket()
        await self.published()

    async def _prune(self, stage: str) -> None:
        """Remove layers without a name; what a container uses stays. A failure costs disk, nothing else."""
        result = await self._manager.run_transient(
            f"nanoclaw-image-{stage}-prune.service",
            ["/usr/bin/podman", "image", "prune", "--force"],
            "Remove image layers that nothing uses",
        )
        if result != "done":
            log.warning("unused image layers could not be removed (%s)", result)

    async def start_model_socket(self) -> None:
        """Have systemd listen for the embedded model's callers; costs nothing until one comes."""
        await self._manager.reset_failed("nanoclaw-model.socket")
        result = await self._manager.start_unit("nanoclaw-model.socket")
        if result != "done":
            log.warning("nanoclaw-model.socket did not start: %s", result)

    def _write_units(self, model: str) -> bool:
        contexts = self._paths.image_contexts
        no_wheels = contexts / "no-wheels"
        no_wheels.mkdir(parents=True, exist_ok=True)
        tag = self.wanted_tag()
        configured = self._config.images
        changed = [
            self._units.write_build(
                ImageBuild(
                    stage=stage,
                    tag=tag,
                    base_image=configured.base,
                    context=self._share,
                    wheels=Path(configured.wheels) if configured.wheels else no_wheels,
                    network=configured.build_network or "private",
                )
            )
            for stage in STAGES
        ]
        return self._units.write_model(model, self._share, _MODEL_IDLE_SECONDS) or any(changed)


def stage_of(provider: str) -> str:
    """Return the agent image that a provider needs."""
    return _STAGE_OF_PROVIDER.get(provider, "agent")


def _reference(stage: str, tag: str) -> str:
    return f"localhost/nanoclaw-{stage}:{tag}"


async def _nothing() -> None:
    """Nobody uses images yet."""
