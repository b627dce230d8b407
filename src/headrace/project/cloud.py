"""The verbs of a project's stack on AWS: plan, deploy, verify, invoke, logs, destroy. What `cli.cloud` stands on.

Thin on purpose: it finds out who and where, and calls `aws`. Nothing is asked of AWS before a verb needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import config
from headrace.model.errors import DefinitionError, InfrastructureError, UsageError
from headrace.project.there import There

if TYPE_CHECKING:
    from headrace.aws.declare.cost import Cost
    from headrace.aws.declare.declared import Declared
    from headrace.aws.operate.compare import Change
    from headrace.aws.operate.deploy import Deployed
    from headrace.aws.operate.destroy import Survey, Unmaking
    from headrace.aws.operate.drift import Drift
    from headrace.aws.operate.logs import Wanted
    from headrace.aws.operate.plan import Plan
    from headrace.aws.operate.rights import Right
    from headrace.aws.operate.stack import Stack
    from headrace.aws.operate.verify import Check
    from headrace.aws.options import Role
    from headrace.aws.places import Places
    from headrace.aws.session import Session

Tell = Callable[[str], None]
"""Hears words of progress."""

__all__ = ["Change", "Check", "Cloud", "Deployed", "Plan", "Right", "Survey", "open_cloud"]


def open_cloud(directory: str | Path, target: str) -> Cloud:
    """The project's stack at an "aws" target. Raises UsageError HR830 for a target of another kind."""
    found = config.read(Path(directory))
    place = found.target(target)
    if place.kind != "aws":
        aws = sorted(one.name for one in found.targets.values() if one.kind == "aws")
        next = f"say --target {aws[0]}" if aws else f'add [targets.aws] with kind = "aws" to {config.FILE}'
        raise UsageError("HR830", f"target {target!r}", f"is of kind {place.kind!r}, and this is about AWS", next)
    return Cloud(found, place)


class Cloud:
    """One target of kind "aws" of one project. Constructing it reads definitions and asks nobody."""

    def __init__(self, found: config.Config, place: config.TargetConfig) -> None:
        self._config, self._place = found, place
        self.pipelines = config.load_pipelines(found)
        self._there = There.of(found, place, self.pipelines, f"{config.FILE} [targets.{place.name}]")
        self._made: dict[Role, Path] = {}

    @property
    def name(self) -> str:
        """The stack's name."""
        return self._there.options.stack

    @property
    def session(self) -> Session:
        return self._there.session

    @cached_property
    def stack(self) -> Stack:
        session = self.session  # first of all: without the AWS library nothing below can be imported
        from headrace.aws.operate.stack import Stack

        return Stack(session, self.name)

    @cached_property
    def declared(self) -> Declared:
        """What the definition makes of AWS, without an account."""
        _ = self.session
        from headrace.aws.declare.declared import Declared

        place, options = self._place, self._there.options
        return Declared(self._config.name, options, self.pipelines, self._config.directory, place.name)

    @cached_property
    def places(self) -> Places:
        """Where everything of the deployed stack is. Raises InfrastructureError HR844."""
        from headrace.aws.places import Places

        return Places.from_outputs(self.stack.deployed().outputs)

    # -- before anything happens ---------------------------------------------------------------------------------

    def plan(
        self, tell: Tell, *, offline: bool = False, look: bool = True, sample: Mapping[str, Any] | None = None
    ) -> Plan:
        """What a deploy would do. Without credentials or a way to AWS, what is declared, and `tell` hears of it.

        `look`: also compare the stack with what was deployed. `sample`: what a metered run used, as
        `Sample.from_mapping` reads it, for the cost of rows; None for the example's. Raises InfrastructureError for
        credentials that are not taken, and HR834 for another project's stack.
        """
        declared = self.declared
        from headrace.aws.operate.plan import plan, plan_against

        account = None if offline else self._account(tell)
        cost = self._cost(tell, sample)
        if account is None:
            return plan(declared, cost)
        return plan_against(self.stack, declared.at(account), self._built(), cost, look=look)

    def intended(self, tell: Tell, *, repair: bool = False) -> Plan:
        """What `deploy` would do now, to be agreed to: for that the packages are built, and a stack at work waited for.

        Raises what `plan` and building raise, and InfrastructureError where there is no account to compare with.
        """
        declared = self.declared.at(self.session.account())
        facts = self.stack.owned(declared.project)
        if facts is not None and facts.busy:
            tell(f"{self.stack.which} is in {facts.status}: waiting")
            self.stack.rest(tell, self.stack.last_event(facts.id), facts.id)
        self._packaged(tell)
        from headrace.aws.operate.plan import plan_against

        return plan_against(self.stack, declared, self._built(), self._cost(tell), look=repair)

    def _cost(self, tell: Tell, sample: Mapping[str, Any] | None = None) -> Cost | None:
        from headrace.aws.declare.cost import Sample, shipped

        metered = Sample.from_mapping(sample) if sample is not None else shipped()
        try:
            return self.declared.cost(metered)
        except DefinitionError as exc:
            if exc.code != "HR809":
                raise
            tell(f"{exc}: nothing is said of cost")  # a region without prices is one to deploy to nevertheless
            return None

    def _account(self, tell: Tell) -> str | None:
        from headrace.aws.session import Session

        options = self._there.options
        session = Session(options.region, options.profile, attempts=1)  # a network that is not there is not waited for
        try:
            session.credentials()
        except InfrastructureError as exc:
            tell(f"{exc.found}: nothing is compared")
            return None
        try:
            return session.account()
        except InfrastructureError as exc:
            if exc.code != "HR803":
                raise
            tell(f"{exc.which} {exc.found}: nothing is compared")
            return None

    def _built(self) -> dict[str, str | None]:
        """The hash of each function's package as it is built here: "" of an older definition, None if it never was."""
        from headrace.aws.bundle.package import current

        found: dict[str, str | None] = {}
        for function in self.declared.code_parameters.values():
            architecture = self._there.options.architecture
            package = current(self._config.directory, function, architecture, self._packages)
            built = (self._packages / f"{function}-{architecture}.zip").exists()
            found[function] = package.sha256 if package is not None else "" if built else None
        return found

    @property
    def _packages(self) -> Path:
        return self._place.root / "packages"

    def drifted(self, found: Sequence[Drift]) -> InfrastructureError:
        """The error for a stack of which a plan says that it is not as deployed."""
        from headrace.aws.operate.drift import drifted

        return drifted(self.stack, found)

    # -- making and unmaking -------------------------------------------------------------------------------------

    def deploy(self, tell: Tell, *, lose: bool = False, repair: bool = False) -> Deployed:
        """Bring the stack to what the definition says. `lose`: though data would be lost; `repair`: undo drift too.

        Raises InfrastructureError HR832 to HR838 and HR848, UsageError HR836.
        """
        from headrace.aws.operate.deploy import Wanted, deploy
        from headrace.aws.operate.drift import drift, drifted

        declared = self.declared.at(self.session.account())
        self.stack.owned(declared.project)
        wanted = Wanted(
            stack=self.name,
            project=declared.project,
            template=declared.template,
            tags=declared.tags,
            artifacts=declared.artifacts,
            code={key: self._packaged(tell)[function] for key, function in declared.code_parameters.items()},
            parameters=declared.parameters,
            repair=repair,
        )
        done = deploy(self.session, wanted, tell, lose=lose, stack=self.stack)
        if repair and (left := drift(self.stack)):
            raise drifted(self.stack, left)
        return done

    def _packaged(self, tell: Tell) -> Mapping[Role, Path]:
        """The functions' packages, built when they are first asked for: what was agreed to is what is deployed."""
        if not self._made:
            self._made = {role: self._package(role, tell) for role in self.declared.code_parameters.values()}
        return self._made

    def _package(self, function: Role, tell: Tell) -> Path:
        from headrace.aws.bundle.package import build

        self._packages.mkdir(parents=True, exist_ok=True)
        made = build(self._config.directory, function, self._there.options.architecture, self._packages)
        tell(f"package {made.path.name}: {made.unzipped_bytes / 2**20:.0f} MB unzipped")
        return made.path

    def survey(self, *, delete_data: bool) -> Survey:
        """What `destroy` would delete, and what data would stay."""
        return self._unmaking(delete_data).survey()

    def destroy(self, tell: Tell, *, delete_data: bool) -> Survey:
        """Delete it, and prove that nothing is left. Raises InfrastructureError HR833, HR834, HR840."""
        return self._unmaking(delete_data).destroy(tell)

    def _unmaking(self, delete_data: bool) -> Unmaking:
        from headrace.aws.operate.destroy import Unmaking

        declared = self.declared.at(self.session.account())
        return Unmaking(self.stack, declared.project, declared.scope, delete_data)

    # -- looking at what is deployed -----------------------------------------------------------------------------

    def verify(self, *, patience: float | None = None) -> Iterator[Check]:
        """Each check as it is done."""
        stack = self.stack
        from headrace.aws.operate.verify import PATIENCE, verify

        return verify(self.session, stack, self.pipelines, patience=PATIENCE if patience is None else patience)

    def invoke(self, pipeline: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Call the pipeline's ingest function with an event; its answer. Raises InfrastructureError HR818."""
        places = self.places.pipeline(pipeline)
        from headrace.aws.bell import ask

        return ask(self.session, places.ingest, event, self._there.options.ingest_timeout)

    def recent(self, since: datetime, limit: int, **chosen: Any) -> list[dict[str, Any]]:
        """The newest log records since an instant, oldest first; chosen as `_lines` says."""
        groups, wanted = self._lines(**chosen)
        from headrace.aws.operate.logs import recent

        return recent(self.session, groups, since, limit, wanted)

    def follow(self, since: datetime, wait: Callable[[float], object], **chosen: Any) -> Iterator[dict[str, Any]]:
        """Log records since an instant and as they come, until `wait`, asked to let seconds pass, returns true."""
        groups, wanted = self._lines(**chosen)
        from headrace.aws.operate.logs import follow

        return follow(self.session, groups, since, wanted, wait=wait)

    def _lines(
        self, pipeline: str | None = None, errors: bool = False, all: bool = False
    ) -> tuple[Sequence[str], Wanted]:
        """Where lines are, of one pipeline or of all, and which are told: `errors` alone, and idle sweeps or not."""
        places = self.places
        from headrace.aws.operate.logs import Wanted, groups

        swept = [f"/aws/lambda/{one.publish}" for one in places.pipelines.values()]
        return groups(places, pipeline), Wanted([] if all else swept, errors)
