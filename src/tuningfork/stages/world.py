"""Make the data of an embedded world: texts, prompts with their splits, and the truth that raters and the gold judge know."""

from __future__ import annotations

from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext


class StageSettings(Settings):
    """Settings of the stage `world`."""

    world: str = "colours"
    """name of an embedded world (`colours`, `manners`)"""
    mapping: str | None = None
    """which words people prefer: the name of a mapping that comes with the world (`snazzy`, `snazzy-wide`, `honest`); empty takes
    the world's own, and a world in which that does not matter has none"""
    mapping_file: Input | None = None
    """a YAML file of your own instead, plain word -> list of preferred words"""
    spec: str = "spec"
    """the language: the name of one that comes with the world (`spec`, or `open`: real things for models that know them)"""
    spec_file: Input | None = None
    """a YAML file of your own instead"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Write the world's data files."""
    from tuningfork.worlds import load_world

    mapping = stage.inputs["mapping_file"].reference if settings.mapping_file else settings.mapping
    spec = stage.inputs["spec_file"].reference if settings.spec_file else settings.spec
    chosen = {"spec": spec} if mapping is None else {"spec": spec, "mapping": mapping}
    counts = load_world(settings.world, **chosen).build(stage.seed, stage.out)
    stage.figures.update(counts)
    stage.events.say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
