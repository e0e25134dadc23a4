"""The demo's story: its world, its people, what happens when, and whether what was told is true."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from streams.core.surges.surge import Surge
from streams.core.worlds.platform import World, WorldPolicy, creator_id_of, post_id_of
from streams.core.worlds.truth import TrueSurge, Truth

STORY_HOURS: Final = 24
"""Event time that the story takes."""
HOURS_MAX: Final = 720
"""Event time that a world lasts at most."""

_CHAPTERS: Final = (
    (0.0, "A usual day: many creators, each with her usual followers."),
    (3.0, "New users from the US arrive, and follow everybody they like."),
    (4.0, "Lin, who has no followers yet, posts a video about moving in."),
    (5.0, "Mei, who writes Chinese, posts a picture: English comments come in."),
    (7.0, "Lin's video spreads; Mei's post draws more comments every minute."),
    (10.0, "The wave is near its height: it lifts everybody, not only Lin."),
    (13.5, "The wave is at its height: most new followers are new users."),
    (16.0, "Mei's post comes near the rule's number of comments in 24 hours."),
    (17.5, "Lin comes near the rule's number of followers in 24 hours."),
    (19.0, "Both have crossed their number; the wave ebbs."),
    (23.0, "A quiet end of the day."),
    (24.0, "The story is told: another usual day goes on."),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Ids of the people of the story; the view calls them Lin and Mei."""

    newcomer_id: str
    post_creator_id: str
    post_id: str

    def name_of(self, surge: Surge | TrueSurge) -> str:
        """What a surge is about, in a few words: ``comments on Mei's post p-2-0``."""
        if surge.kind == "mix":
            return f"languages of comments on {self._commented(surge)}"
        if surge.kind == "wave":
            return f"a wave, {_of_wave(surge)}"
        if surge.kind == "followers":
            who = "Lin " if surge.creator_id == self.newcomer_id else ""
            return f"followers of {who}{surge.creator_id}"
        return f"comments on {self._commented(surge)}"

    def _commented(self, surge: Surge | TrueSurge) -> str:
        if surge.post_id is None:
            who = "Mei " if surge.creator_id == self.post_creator_id else ""
            return f"all of {who}{surge.creator_id}"
        who = "Mei's post " if surge.post_id == self.post_id else ""
        return f"{who}{surge.post_id}"

    def plays(self, surge: Surge) -> bool:
        """Whether a surge is about one of them, or is the wave."""
        return surge.kind == "wave" or surge.creator_id in {self.newcomer_id, self.post_creator_id}


def _of_wave(surge: Surge | TrueSurge) -> str:
    """What a wave is of, in a few words."""
    wave = surge.wave if isinstance(surge, Surge) else None
    if wave is None or wave.scope == "platform":
        return "the whole platform"
    named = "-".join(name for name in (wave.lang, wave.region) if name is not None)
    return f"who comes from {named}" if wave.by_newcomers else f"creators followed from {named}"


def cast_of(world: World) -> Cast:
    """Who plays in a world."""
    return Cast(
        creator_id_of(world.newcomer),
        creator_id_of(world.post_creator),
        post_id_of(world.post_creator, 0),
    )


def story_policy(hours: int) -> WorldPolicy:
    """The world that the demo tells: 1.4 million records in the story's 24 hours."""
    return WorldPolicy(
        hours=hours,
        follows_per_day=500_000,
        comments_per_day=150_000,
        wave_users=300_000,
        wave_follows_each=2,
        wave_comments_each=0.2,
    )


def chapter_at(hours: float) -> str:
    """What happens so many hours of event time after the begin, 0 or more.

    >>> chapter_at(4.5)
    'Lin, who has no followers yet, posts a video about moving in.'
    """
    return [text for begin, text in _CHAPTERS if begin <= hours][-1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Surges by rule that are true, and which of them were told at their very record.

    ``untrue`` were told and are not true; ``on_others`` counts alarms of the model for those
    who do not play in the story; ``lead_ms`` is how long before the rule the model told Mei's
    post, None when it did not.
    """

    true: tuple[TrueSurge, ...]
    told: tuple[TrueSurge, ...]
    untrue: tuple[Surge, ...]
    on_others: int
    lead_ms: int | None

    @property
    def holds(self) -> bool:
        """Whether the true surges were told, all of them and no others."""
        return len(self.told) == len(self.true) and not self.untrue


_Key = tuple[str, str, str | None, int]


def _key_of(surge: Surge | TrueSurge) -> _Key:
    return surge.kind, surge.creator_id, surge.post_id, surge.opened_ms


def verdict_of(truth: Truth, told: Iterable[Surge], cast: Cast) -> Verdict:
    """Compare what was told with the simulator's truth."""
    opened = [surge for surge in told if surge.state == "opened"]
    by_rule = {_key_of(surge): surge for surge in opened if surge.trigger == "rule"}
    true = {_key_of(surge): surge for surge in truth.surges}
    by_model = [surge for surge in opened if surge.trigger == "model"]
    on_post = [one for one in by_model if one.post_id == cast.post_id and one.kind == "comments"]
    rule_ms = [s.opened_ms for s in truth.surges if s.post_id == cast.post_id]
    model_ms = [surge.opened_ms for surge in on_post]
    return Verdict(
        true=tuple(truth.surges),
        told=tuple(surge for key, surge in true.items() if key in by_rule),
        untrue=tuple(surge for key, surge in by_rule.items() if key not in true),
        on_others=sum(not cast.plays(surge) for surge in by_model),
        lead_ms=rule_ms[0] - min(model_ms) if rule_ms and model_ms else None,
    )
