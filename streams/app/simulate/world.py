"""The named worlds for people: the command's help, what was simulated, and one series."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from streams.app.commands.show import iso_of
from streams.core.worlds.counts import CountWorld
from streams.core.worlds.named_truth import WorldTruth, world_truth_of
from streams.core.worlds.plans import WORLDS
from streams.core.worlds.platform import creator_id_of
from streams.core.worlds.series import series_creator_of, series_of
from streams.edges.files.records import OutputFile


def worlds_help() -> str:
    """Help of the command: a line for each world."""
    wide = max(map(len, WORLDS))
    lines = "\n".join(f"  {name:{wide}}  {plan.about}" for name, plan in WORLDS.items())
    return (
        "Simulate a platform on which a newcomer, a post and a wave surge, or another world.\n\n"
        "The records go to the topics of follows and comments in Kafka, or into files; --truth "
        f"says what is true of them.\n\n\b\nWorlds:\n{lines}"
    )


def world_lines_of(truth: WorldTruth) -> list[str]:
    """Lines that tell people what is true of a named world."""
    bursts = sum(artefact.what == "burst" for artefact in truth.artefacts)
    lines = [
        f"{truth.world}: {truth.creators:,} creators, {truth.creators_without_surge:,} without a "
        f"surge of their own; from {iso_of(truth.happens_ms)}: {len(truth.surges):,} own surges, "
        f"{len(truth.waves):,} waves, {len(truth.mixes):,} shifts of languages, "
        f"{len(truth.artefacts) - bursts:,} artefacts; {bursts:,} bursts"
    ]
    lines += [
        f"wave: {wave.what} "
        + ", ".join(f"{lang} x{lift:g}" for lang, lift in wave.lifts.items())
        + f", {iso_of(wave.start_ms)} to {iso_of(wave.end_ms)}"
        for wave in truth.waves
    ]
    return lines


def series_written(world: CountWorld, path: Path, truth_path: Path | None) -> list[str]:
    """Write ``timestamp,value`` of five minutes each, UTC; returns what to tell people."""
    count = total = 0
    with ExitStack() as outs:
        out = outs.enter_context(OutputFile(path))
        truth_out = None if truth_path is None else outs.enter_context(OutputFile(truth_path))
        out.write(b"timestamp,value\n")
        for at_ms, value in series_of(world):
            at = datetime.fromtimestamp(at_ms // 1000, tz=UTC)
            out.write(f"{at:%Y-%m-%d %H:%M:%S},{value}\n".encode())
            count, total = count + 1, total + value
        if truth_out is not None:
            truth = msgspec.json.encode(world_truth_of(world))
            truth_out.write(msgspec.json.format(truth, indent=2) + b"\n")
    creator = series_creator_of(world)
    of = "the platform" if creator is None else creator_id_of(creator)
    return [f"{path}: {count:,} buckets of {of}, {total:,} events"]
