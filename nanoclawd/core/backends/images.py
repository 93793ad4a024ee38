"""Behind io.nanoclaw.Images."""

import logging
from collections.abc import AsyncGenerator, Sequence

from nanoclawd.control import values
from nanoclawd.images.service import ImageService

log = logging.getLogger(__name__)


class ImagesBackend:
    """Images."""

    def __init__(self, images: ImageService) -> None:
        self._images = images

    async def list(self) -> Sequence[values.Image]:
        """Return the images that the appliance uses."""
        return [await self._view(stage) for stage in await self._images.used()]

    async def build(self, peer: values.Peer, name: str | None) -> AsyncGenerator[values.BuildProgress]:
        """Build and tell the progress; podman's own lines are in the journal, which ``ncl`` follows."""
        log.info("%s builds %s", peer.user_id, name or "all images")
        async for step in self._images.build(name):
            yield values.BuildProgress(
                event=values.BuildEvent.DONE if step.done else values.BuildEvent.STAGE,
                image=step.image,
                stage=step.stage,
                stages=step.stages,
            )

    async def _view(self, stage: str) -> values.Image:
        if self._images.is_building(stage):
            state = values.ImageState.BUILDING
        else:
            state = values.ImageState.PRESENT if await self._images.present(stage) else values.ImageState.MISSING
        return values.Image(name=stage, reference=await self._images.reference(stage), state=state)
