"""Every error the orchestrator raises on purpose.

OrchestrateError            code, message, hint; what a person reads
├── InputError              the operator's input is wrong; nothing was touched (exit 2)
│   ├── UsageError          command line: no such host, group, release
│   ├── SettingsError       orchestrate.yml
│   ├── InventoryError      inventory files and variables
│   ├── TemplateError       a config template, or the config it renders to
│   ├── ModelError          catalog, manifest, artifact, version
│   └── SelectionError      no artifact of the version fits the host
├── EngineError             an engine that this process runs, or a query to it (exit 4)
│   ├── EngineStartError    it did not start: no program, a bad config, a net it cannot load
│   ├── EngineEndedError    it ended while it was needed, or was closed
│   ├── EngineTimeoutError  no answer in time
│   └── QueryError          it refused a query
└── HostError               one host could not be brought where it should be; data, not a crash
    ├── UnreachableError    no connection (exit 5)
    │   ├── HostKeyError    unknown or changed host key
    │   └── AuthError       the host refused the user or its keys
    ├── LockedError         somebody else works on the host (exit 6)
    ├── CommandError        a command on the host failed or timed out
    ├── PreflightError      the host cannot take the release: space, permission, missing tools
    ├── TransferError       a blob arrived damaged
    ├── ServiceError        the service does not run the release
    ├── ProvisionError      a task of a playbook failed
    ├── HaltedError         the operator stopped everything at once
    └── VerifyError         the smoke benchmark said no
"""

from __future__ import annotations

from typing import Any, ClassVar


class OrchestrateError(Exception):
    """What happened and what to do next: `code` for programs, `message` and `hint` for people.

    The message starts in lower case and has no full stop; the hint is a sentence or a command.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code_given = code

    def as_dict(self) -> dict[str, str]:
        """The error as the JSON output shows it: `code`, `message`, `hint`."""
        return {
            "code": self.code_given or self.code,
            "message": self.message,
            "hint": self.hint,
        }


class InputError(OrchestrateError):
    """The operator's input is wrong; nothing was touched."""

    code = "bad_input"
    exit_code = 2


class UsageError(InputError):
    """The command line names something that does not exist or does not go together."""

    code = "usage"


class SettingsError(InputError):
    """orchestrate.yml is missing, unreadable or breaks its schema."""

    code = "settings"


class InventoryError(InputError):
    """An inventory file or variable is wrong."""

    code = "inventory"


class TemplateError(InputError):
    """A template does not render, or its engine would refuse what it renders to."""

    code = "template"


class ModelError(InputError):
    """A model, version, manifest or artifact is missing, damaged or yanked."""

    code = "model"


class SelectionError(InputError):
    """No artifact of the wanted version fits the host."""

    code = "no_artifact_fits"


class EngineError(OrchestrateError):
    """An engine that this process runs does not do what it was asked; `log` is its last output."""

    code = "engine"

    def __init__(self, message: str, *, hint: str = "", code: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.log = log


class EngineStartError(EngineError):
    """The engine did not start: no such program, a bad config, a net it cannot load."""

    code = "engine_start"


class EngineEndedError(EngineError):
    """The engine ended while it was needed, or was closed."""

    code = "engine_ended"


class EngineTimeoutError(EngineError):
    """No answer in time."""

    code = "engine_timeout"


class QueryError(EngineError):
    """The engine refused a query; `field` is the one that is wrong, empty where it names none."""

    code = "engine_query"

    def __init__(self, message: str, *, hint: str = "", code: str = "", field: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.field = field


class HostError(OrchestrateError):
    """One host could not be brought where it should be."""

    code = "host"
    exit_code = 3


class UnreachableError(HostError):
    """No connection to the host."""

    code = "unreachable"
    exit_code = 5


class HostKeyError(UnreachableError):
    """The host's key is unknown, or is not the one in known_hosts."""

    code = "host_key_unknown"


class AuthError(UnreachableError):
    """The host refused the user or its keys."""

    code = "auth_failed"


class LockedError(HostError):
    """Somebody else works on the host; `owner` is what the lock says of them."""

    code = "locked"
    exit_code = 6

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        owner: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.owner = owner or {}


class CommandError(HostError):
    """A command on the host failed or ran out of time."""

    code = "command_failed"


class PreflightError(HostError):
    """The host cannot take the release."""

    code = "preflight"


class TransferError(HostError):
    """What arrived on the host is not what was sent."""

    code = "transfer"


class ServiceError(HostError):
    """The service on the host does not run the release."""

    code = "service"


class ProvisionError(HostError):
    """A task of a playbook failed on the host, or the host is none that the playbooks know."""

    code = "provision_failed"


class HaltedError(HostError):
    """The operator stopped everything at once."""

    code = "halted"


class VerifyError(HostError):
    """The smoke benchmark refused the release."""

    code = "verify_failed"
