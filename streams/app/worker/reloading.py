"""SIGHUP: settings are read anew, and what a running worker can take up is applied.

What partitions' jobs are made with (rules, budgets) is applied as a restart would: what was counted
is stored, every partition is taken over anew from the store, and reading goes on where it stood.
So it comes between two chunks, and what it changes is what a restart there would have changed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from streams.edges.errors import SettingsError
from streams.edges.logs.lines import logger_of
from streams.edges.metrics.catalogue_running import ReloadResult
from streams.edges.settings.list import Settings
from streams.edges.settings.reload import OF_JOBS, changes_of, taken_up
from streams.edges.settings.specs import digest_of

log = logger_of(__name__)


class Reloading:
    """The settings in force. ``read`` reads them anew; ``check`` refuses what cannot be applied.

    ``apply`` puts the new ones into place, and hears whether partitions are to be taken over anew;
    ``count`` hears the result of each reload.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        check: Callable[[Settings], None],
        apply: Callable[[Settings, bool], Coroutine[Any, Any, None]],
        count: Callable[[ReloadResult], None],
    ) -> None:
        self.settings = settings
        self._read = read
        self._check = check
        self._apply = apply
        self._count = count

    async def run(self, asked: asyncio.Event) -> None:
        """Reload whenever it is asked for, for ever; once for what was asked meanwhile."""
        while True:
            await asked.wait()
            asked.clear()
            self._count(await self.reload())

    async def reload(self) -> ReloadResult:
        """Read, tell, apply. Settings that are wrong change nothing."""
        try:
            found = await asyncio.to_thread(self._read)
            new = taken_up(self.settings, found)
            self._check(new)
        except SettingsError as error:
            log.error(
                "settings_refused",
                "settings are not reloaded, the old ones stay in force: {error}",
                error=error,
            )
            return "refused"
        changes = changes_of(self.settings, found)
        for change in changes:
            if not change.is_applied:
                log.warning(
                    "setting_needs_restart",
                    "{setting} is {new} now and needs a restart: {old} stays in force",
                    setting=change.name,
                    old=change.old,
                    new=change.new,
                )
        applied = [change for change in changes if change.is_applied]
        if not applied:
            log.info("settings_unchanged", "settings are read again: nothing to apply")
            return "unchanged"
        for change in applied:
            log.warning(
                "setting_changed",
                "{setting} is changed while running: {old} → {new}",
                setting=change.name,
                old=change.old,
                new=change.new,
            )
        self.settings = new
        await self._apply(new, any(change.name in OF_JOBS for change in applied))
        log.warning(
            "settings_applied",
            "settings are applied: {settings_hash} from here on",
            settings_hash=digest_of(new),
        )
        return "applied"
