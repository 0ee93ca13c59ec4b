"""The settings that every process has: how to reach NATS, which namespace, how to show itself."""

import os
import socket
import ssl
import uuid
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from perdure.adapters.jetstream.backend import JetStreamOptions
from perdure.adapters.jetstream.link import ConnectOptions
from perdure.adapters.jetstream.permissions import Role, inbox_prefix
from perdure.client.environment import tls_context
from perdure.core.errors import InvalidInputError
from perdure.core.ids import check_id, check_namespace
from perdure_services._shell.durations import Duration
from perdure_services._shell.errors import Refused
from perdure_services._shell.judging import Limits
from perdure_services._shell.sizes import Size
from perdure_services._shell.sources import sources
from perdure_services._shell.usage import machine_memory

_PREFIX: Final = "PERDURE_"
_MEMORY_LIMIT: Final = 2 << 30

Words = Annotated[tuple[str, ...], NoDecode]
"""Several words; in an environment variable parted by commas."""


class ConnectionSettings(BaseSettings):
    """Which namespace, on which server, as whom."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )
    role: ClassVar[Role] = Role.CLIENT

    config: str = ""
    server: str = "nats://127.0.0.1:4222"
    context: str = ""
    creds: str | None = None
    nkey: str | None = None
    nkey_seed: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None
    tls_first: bool = False
    inbox_prefix: str | None = None
    domain: str | None = None
    api_prefix: str | None = None
    namespace: str = "default"
    subject_prefix: str = "perdure"
    create: bool = True
    replicas: int | None = None
    retention: Duration | None = None
    partitions: int | None = None
    reply_prefixes: Words = ()
    """Where else than in inboxes replies to durable requests may go."""
    store_limit: Size = 0
    """Bytes that the account has, where it has no limit of its own."""
    store_threshold: float = Field(default=0.85, ge=0.1, le=1)
    """The part of them beyond which no workflow is started."""
    ingress_limit: Size | None = None
    """Bytes of requests that may wait in INGRESS; the namespace's own when None."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return sources(settings_cls, init_settings, env_settings)

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """The settings, with the flags that were given (None: not given). Raises Refused naming
        what is wrong."""
        given = {name: value for name, value in flags.items() if value not in (None, (), [])}
        try:
            return cls(**given)
        except ValidationError as error:
            raise Refused("; ".join(map(_complaint, error.errors()))) from error

    @field_validator("reply_prefixes", mode="before")
    @classmethod
    def _reply_prefixes(cls, value: Any) -> Any:
        return split_words(value)

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        return check_namespace(value)

    @field_validator("subject_prefix")
    @classmethod
    def _subject_prefix(cls, value: str) -> str:
        if not value or any(not token or not token.isidentifier() for token in value.split(".")):
            raise ValueError(f"a prefix is words parted by dots, not {value!r}")
        return value

    @property
    def servers(self) -> tuple[str, ...]:
        hosts = [host.strip() for host in self.server.split(",") if host.strip()]
        return tuple(host if "://" in host else f"nats://{host}" for host in hosts)

    def connect_options(self, *, name: str = "perdure", **others: Any) -> ConnectOptions:
        """How the adapter reaches the server."""
        return ConnectOptions(
            servers=self.servers,
            name=name,
            credentials=self.creds,
            nkey=self.nkey,
            nkey_seed=_open(self.nkey_seed),
            user=self.user,
            password=_open(self.password),
            token=_open(self.token),
            tls=self._tls(),
            tls_first=self.tls_first,
            inbox_prefix=self.inbox_prefix or inbox_prefix(self.role),
            domain=self.domain,
            api_prefix=self.api_prefix,
            **others,
        )

    def jetstream_options(self, *, name: str = "perdure", **others: Any) -> JetStreamOptions:
        """The adapter's options. Raises Refused for values that it does not take."""
        try:
            return JetStreamOptions(
                connection=self.connect_options(name=name, **others),
                namespace=self.namespace,
                prefix=self.subject_prefix,
                create=self.create,
                replicas=self.replicas,
                retention=self.retention,
                partitions=self.partitions,
                reply_prefixes=self.reply_prefixes,
                max_bytes={} if self.ingress_limit is None else {"ingress": self.ingress_limit},
                store_limit=self.store_limit,
                store_threshold=self.store_threshold,
            )
        except ValueError as error:
            raise Refused(str(error)) from error

    def reaching(self, url: str) -> Self:
        """The same settings for a server of our own, which asks nobody who he is."""
        nobody = dict.fromkeys(
            ("creds", "nkey", "nkey_seed", "user", "password", "token", "tls_cert", "tls_key")
        )
        update = {"server": url, "tls_ca": None, "tls_first": False, "domain": None}
        return self.model_copy(update={**nobody, **update, "api_prefix": None})

    def _tls(self) -> ssl.SSLContext | None:
        try:
            return tls_context(self.tls_ca, self.tls_cert, self.tls_key)
        except InvalidInputError as error:
            raise Refused(str(error)) from error


class ServiceSettings(ConnectionSettings):
    """What every service has besides its connection."""

    identity: str = Field(
        default_factory=lambda: f"{os.getpid()}@{socket.gethostname()}-{uuid.uuid4().hex[:6]}"
    )
    health_host: str = "0.0.0.0"
    health_port: int = Field(default=9464, ge=0, le=65_535)
    any_health_port: bool = False
    """Take the next free port when the health port is taken."""
    log_format: Literal["auto", "human", "json"] = "auto"
    log_level: str = "INFO"
    grace: Duration = timedelta(seconds=25)

    @field_validator("identity")
    @classmethod
    def _identity(cls, value: str) -> str:
        return check_id(value, "identity")

    @field_validator("log_level")
    @classmethod
    def _log_level(cls, value: str) -> str:
        level = value.upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError(f"log_level is DEBUG, INFO, WARNING or ERROR, not {value!r}")
        return level


class CodeSettings(ServiceSettings):
    """What a service has that runs users' code."""

    imports: Words = Field(default=(), validation_alias=f"{_PREFIX}IMPORT")
    task_queues: Words = Field(default=("default",), validation_alias=f"{_PREFIX}TASK_QUEUE")

    @field_validator("imports", "task_queues", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return split_words(value)

    @field_validator("task_queues")
    @classmethod
    def _task_queues(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one task queue")
        return tuple(dict.fromkeys(check_id(queue, "task_queue") for queue in value))


class SupervisedSettings(CodeSettings):
    """What a service has whose users' code may cost it its process. 0: no limit."""

    turn_timeout: Duration = timedelta(seconds=1.5)
    memory_limit: Size | None = None
    """What a process may grow by in one turn; else 2 GiB, or a quarter of what the machine has."""

    @property
    def limits(self) -> Limits:
        memory = self.memory_limit
        if memory is None:
            memory = min(_MEMORY_LIMIT, machine_memory() // 4)
        return Limits(time=self.turn_timeout.total_seconds(), memory=memory)


def split_words(value: Any) -> Any:
    """``a,b`` as a list of words; a list stays."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def _open(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _complaint(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    name = place if place.startswith(_PREFIX) else place.replace("_", "-")
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}: {text}" if name else text
