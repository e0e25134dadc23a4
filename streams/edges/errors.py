"""Errors that a user sees: one plain line that says what is wrong and what to do.

The command line prints the line, without a traceback, and ends with the error's exit code.
"""

import re
from typing import ClassVar, Final

REDIS_UNREACHED: Final = "Redis cannot be reached"
_BRIEF_CHARACTERS_MAX: Final = 100


class SurgewatchError(Exception):
    """A fault that the user can act on; its message is one plain line.

    ``exit_code`` says the class of fault: 2 settings or usage, 3 a server cannot be reached,
    4 data that cannot be used.
    """

    exit_code: ClassVar[int] = 1


class SettingsError(SurgewatchError):
    """A setting or an option is missing, unknown or out of range."""

    exit_code = 2


class UnreachableError(SurgewatchError):
    """A server cannot be reached, or refuses us. ``retry``: it may well answer later."""

    exit_code = 3
    retry = True


class DataError(SurgewatchError):
    """Data (a file, a topic, stored state) is missing or cannot be used."""

    exit_code = 4


class KafkaUnreachable(UnreachableError):
    """No Kafka broker answers at the bootstrap servers, or it refuses the login."""

    def __init__(self, bootstrap_servers: str, cause: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.cause = cause
        super().__init__(
            f"cannot reach Kafka at {bootstrap_servers} ({cause}): is it running, and is "
            "SURGEWATCH_KAFKA_BOOTSTRAP_SERVERS right?"
        )


class KafkaRefusesUs(KafkaUnreachable):
    """A Kafka is there, and will not have us so: login, certificate, protocol, rights."""

    retry = False

    def __init__(self, bootstrap_servers: str, cause: str) -> None:
        super().__init__(bootstrap_servers, cause)
        self.args = (f"cannot use Kafka at {bootstrap_servers}: {cause}",)


class RedisUnreachable(UnreachableError):
    """No Redis answers at the URL, or it refuses the login. The URL is shown without secrets."""

    def __init__(self, redis_url_shown: str, cause: str) -> None:
        self.redis_url_shown = redis_url_shown
        self.cause = cause
        super().__init__(
            f"cannot reach Redis at {redis_url_shown} ({cause}): is it running, and is "
            "SURGEWATCH_REDIS_URL right?"
        )

    @property
    def brief(self) -> str:
        """What it is in few words, without addresses: whoever asks for health may read them."""
        return REDIS_UNREACHED


class RedisRefuses(RedisUnreachable):
    """Redis answers and takes no writes now: disk or memory full, a replica, no majority."""

    def __init__(self, redis_url_shown: str, cause: str, *, says_all: bool = False) -> None:
        """``says_all``: the cause says what to do, too."""
        super().__init__(redis_url_shown, cause)
        if says_all:
            told = f": {cause}"
        else:
            told = f" ({cause}): has it disk and memory left, and is it the primary?"
        self.args = (f"Redis at {redis_url_shown} takes no writes now{told}",)

    @property
    def brief(self) -> str:
        """The beginning of what Redis said."""
        said = re.split(r"[:;.]", self.cause, maxsplit=1)[0]
        return f"Redis takes no writes now: {said[:_BRIEF_CHARACTERS_MAX]}"


class RedisRefusesUs(RedisUnreachable):
    """A Redis is there, and will not have us so: login, certificate, protocol, rights."""

    retry = False

    def __init__(self, redis_url_shown: str, cause: str) -> None:
        super().__init__(redis_url_shown, cause)
        self.args = (f"cannot use Redis at {redis_url_shown}: {cause}",)

    @property
    def brief(self) -> str:
        """That it does; why is in the log."""
        return "Redis refuses us: the log says why"


class Interrupted(SurgewatchError):
    """The user ended the command; the line says what had been done until then."""

    exit_code = 130
