"""The phantoms by the names under which they are registered as data sets."""

from typing import Any

from medim.data.phantom import DEFAULT
from medim.data.phantom.dataset import Phantom
from medim.data.phantom.v1.dataset import PhantomV1
from medim.data.phantom.v2.dataset import PhantomV2

WORLDS: dict[str, type[Phantom]] = {world.name: world for world in (PhantomV1, PhantomV2)}


def default_world(resolution: int = 64, **options: Any) -> Phantom:
    return WORLDS[DEFAULT](resolution, **options)
