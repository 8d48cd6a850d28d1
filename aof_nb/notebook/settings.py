"""The defaults of a notebook: ``%config AOF``, and ``c.AOF`` in ipython_config.py."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakKeyDictionary

from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, Union, validate
from traitlets.config import Config, Configurable

from aof_nb.durations import time_limit
from aof_nb.policy import ApproveMode

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MODES = get_args(ApproveMode)
"""What ``--approve`` and ``AOF.approve`` take."""

THEMES = ("auto", "light", "dark")
"""What ``AOF.theme`` takes."""

_SLOWEST, _FASTEST = 0.2, 60.0
_kept: WeakKeyDictionary[Any, Config] = WeakKeyDictionary()


class AOF(Configurable):
    """What holds for the magics where a line does not say otherwise.

    The class is named as people write it: ``%config AOF.model = "openai:gpt-5"``.
    """

    model = Unicode(
        None,
        allow_none=True,
        help="The model that is asked instead of each agent's own, such as openai:gpt-5.",
    ).tag(config=True)
    approve = Enum(
        MODES,
        default_value="ask",
        help="Where the policy asks: ask a person, never approve, approve all, or make a dry run. "
        "AOF_APPROVE, if it is set, comes before this.",
    ).tag(config=True)
    approval_timeout = Union(
        [Float(), Unicode()],
        default_value=None,
        allow_none=True,
        help="How long a question waits for you, such as 5m; no answer is a no then. inf for no "
        "limit; what the agent's policy says if it is None.",
    ).tag(config=True)
    session = Unicode(
        None, allow_none=True, help="The conversation that every prompt goes on with."
    ).tag(config=True)
    max_turns = Int(None, allow_none=True, min=1, help="Model responses at most, of each run.").tag(
        config=True
    )
    rate = Float(
        20.0,
        min=_SLOWEST,
        max=_FASTEST,
        help="How often a live output is brought up to date, in updates a second.",
    ).tag(config=True)
    autosave = Bool(
        True,
        help="Whether JupyterLab saves the notebook when a run begins to show itself and when it "
        "has ended, so that a page that is loaded again shows it.",
    ).tag(config=True)
    theme = Enum(
        THEMES,
        default_value="auto",
        help="What a terminal's background is, for the colours of code; auto takes the "
        "terminal's own colours. A notebook's outputs follow its theme.",
    ).tag(config=True)

    @validate("model")
    def _model_known(self, proposal: Any) -> str | None:
        """Refuses a model that no provider could be asked for."""
        from aof_nb.errors import ConfigurationError
        from aof_nb.models.registry import parse_name

        if not proposal["value"]:
            return None
        try:
            parse_name(proposal["value"])
        except ConfigurationError as error:
            raise TraitError(f"AOF.model: {error.message}; {error.remedy}") from None
        return str(proposal["value"])

    @validate("approval_timeout")
    def _seconds(self, proposal: Any) -> float | None:
        """Takes a duration as people write it."""
        if proposal["value"] in {None, "", "None"}:
            return None
        try:
            return time_limit(proposal["value"])
        except ValueError as error:
            raise TraitError(f"AOF.approval_timeout: {error}; write 30s, 5m or 1h") from None

    @validate("session")
    def _session_named(self, proposal: Any) -> str | None:
        """Takes an empty name for none."""
        return proposal["value"] or None

    @property
    def interval(self) -> float:
        """Seconds between two updates of what is live."""
        return float(1 / self.rate)


def settings_of(shell: InteractiveShell | None) -> AOF:
    """The settings of a shell; those that nobody has changed, where none are loaded.

    Args:
        shell: IPython's shell.
    """
    for each in getattr(shell, "configurables", ()):
        if _is_ours(each):
            found: AOF = each
            return found
    return AOF()


def add_settings(shell: InteractiveShell) -> None:
    """Makes ``%config AOF`` known; what was set before the extension was reloaded holds.

    Args:
        shell: IPython's shell.
    """
    try:
        made = AOF(parent=shell)
    except TraitError as error:
        sys.stderr.write(f"aof_nb: IPython's configuration is left aside: {error}\n")
        made = AOF()
    if shell in _kept:
        made.update_config(_kept.pop(shell))
    shell.configurables.append(made)  # type: ignore[arg-type]


def take_settings(shell: InteractiveShell) -> None:
    """Takes them out of a shell again.

    Args:
        shell: IPython's shell.
    """
    for each in [each for each in shell.configurables if _is_ours(each)]:
        _kept[shell] = Config({"AOF": dict(each.config.get("AOF", {}))})
        shell.configurables.remove(each)


def _is_ours(configurable: Any) -> bool:
    """Whether it is ours, whichever version of this module made it."""
    cls = type(configurable)
    return (cls.__name__, cls.__module__) == (AOF.__name__, AOF.__module__)
