"""What io.nanoclaw.Images carries."""

from dataclasses import dataclass
from enum import StrEnum


class ImageState(StrEnum):
    """Whether an image can be used."""

    PRESENT = "present"
    MISSING = "missing"
    BUILDING = "building"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Image:
    """A container image, built on this machine."""

    name: str
    reference: str
    state: ImageState
    size: int | None = None
    built_at: str | None = None
    detail: str | None = None


class BuildEvent(StrEnum):
    """What a piece of build progress is."""

    STAGE = "stage"
    LINE = "line"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """One piece of progress: stage ``stage`` of ``stages`` over all images that were asked for."""

    event: BuildEvent
    image: str
    stage: int
    stages: int
    text: str = ""
