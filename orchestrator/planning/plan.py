"""The plan of one host: profile, artifact, config, release and what is missing of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator import engines
from orchestrator.errors import SelectionError
from orchestrator.planning import containers
from orchestrator.planning.diff import HostPlan, compare
from orchestrator.planning.present import Present
from orchestrator.planning.profiles import ProfileChoice, choose_profile
from orchestrator.planning.provisionable import own_python, provision_command
from orchestrator.planning.release import Release, build
from orchestrator.planning.render import config_error
from orchestrator.planning.select import PROVISION_HOST, Selection, select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile
    from orchestrator.models.manifest import ModelVersion
    from orchestrator.planning.render import Templates

RUN_TEMPLATE = "run.sh.j2"
TEMPLATE_SUFFIX = ".j2"


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """All that the plan of one host follows from; plain values that can be pickled.

    `groups` maps every group of the inventory to its hosts. The host variable
    `orchestrate_profile` forces a profile.
    """

    host: Host
    groups: Mapping[str, tuple[str, ...]]
    facts: Facts
    version: ModelVersion
    profiles: tuple[Profile, ...]
    templates: Templates
    present: Present = field(default_factory=Present)
    allow_inexact: bool = False


def plan_host(inputs: PlanInputs) -> HostPlan:
    """What the host should get and what has to be done for it.

    Raises InventoryError (forced profile), SelectionError (no profile or artifact fits),
    ModelError (yanked), TemplateError (does not render, or the engine would refuse it) and
    SettingsError (the profile is not for hosts of this kind).
    """
    choice = choice_for(inputs)
    selection = selection_for(inputs, choice)
    return plan_for(inputs, choice, selection, release_for(inputs, choice, selection))


def plan_for(
    inputs: PlanInputs, choice: ProfileChoice, selection: Selection, release: Release
) -> HostPlan:
    """What has to be done for the release."""
    plan = compare(inputs.host.name, choice, selection, release, inputs.present)
    if not release.is_docker:
        return plan
    spec, artifact = choice.profile.docker, selection.artifact
    name, why = containers.strategy(spec, inputs.facts, artifact)
    return replace(plan, strategy=name, strategy_reason=why)


def choice_for(inputs: PlanInputs) -> ProfileChoice:
    """The host's profile."""
    return choose_profile(inputs.host, inputs.facts, inputs.groups, inputs.profiles)


def selection_for(inputs: PlanInputs, choice: ProfileChoice) -> Selection:
    """The host's artifact and engine; the SelectionError of `select` names the host."""
    try:
        return select(
            inputs.version,
            choice.profile,
            containers.inside(inputs.facts, choice.profile.docker),
            inputs.present,
            allow_inexact=inputs.allow_inexact,
            python=own_python(inputs.host),
        )
    except SelectionError as exc:
        name = inputs.host.name
        hint = exc.hint.replace(PROVISION_HOST, provision_command([name]))
        raise SelectionError(f"{name}: {exc.message}", hint=hint) from exc


def release_for(inputs: PlanInputs, choice: ProfileChoice, selection: Selection) -> Release:
    """The host's release: config and run script rendered, the config checked by the engine.

    On a Docker host a compose file is rendered, and checked, instead of the run script.
    """
    profile, host = choice.profile, inputs.host.name
    config = profile.config.rsplit("/", 1)[-1].removesuffix(TEMPLATE_SUFFIX)
    context = context_for(inputs, choice, selection, config)
    config_text = inputs.templates.render(profile.config, context, host=host)
    engine = engines.get(selection.engine.kind)
    problems = engine.check_config(config_text, selection.engine, inputs.facts)
    if problems:
        raise config_error(
            problems,
            template=profile.config,
            config=config,
            engine=selection.engine.kind,
            host=host,
            lines=inputs.templates.lines(profile.config, context, host=host),
        )
    run_text, docker = "", None
    if containers.is_docker(inputs.facts):
        docker = containers.docker_files(
            inputs.templates, context, profile=profile, facts=inputs.facts, host=host
        )
    else:
        run_text = inputs.templates.render(RUN_TEMPLATE, context, host=host)
    return build(
        inputs.version,
        profile,
        selection.artifact,
        selection.engine,
        config=config,
        config_text=config_text,
        run_text=run_text,
        docker=docker,
    )


def context_for(
    inputs: PlanInputs, choice: ProfileChoice, selection: Selection, config: str
) -> dict[str, Any]:
    """The variables of the templates.

    `facts`, `host`, `groups`, `engine` (resolved), `artifact`, `model` and `version` (names),
    `profile` (its name), `config` (the file's name), `run_line` (the engine's command line) and
    `vars`: the profile's, overlaid by the host's.
    """
    artifact, spec = selection.artifact, selection.engine
    return {
        "facts": containers.inside(inputs.facts, choice.profile.docker),
        "host": inputs.host,
        "groups": inputs.groups,
        "engine": spec,
        "artifact": artifact,
        "model": inputs.version.model,
        "version": inputs.version.version,
        "profile": choice.profile.name,
        "config": config,
        "run_line": engines.get(spec.kind).run_line(spec, model=artifact.filename, config=config),
        "vars": {**choice.profile.vars, **inputs.host.vars},
    }
