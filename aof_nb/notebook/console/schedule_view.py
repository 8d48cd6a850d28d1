"""The schedule of a runbook: when, and the entry that has it run then, to copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aof_nb.errors import AofError
from aof_nb.markdown import html_text
from aof_nb.notebook.console.cron import parse_times
from aof_nb.notebook.console.schedule import Job, cron_entry, cron_job, systemd_units

_KINDS = (
    ("cron", "cron"),
    ("systemd timer", "systemd"),
    ("Kubernetes CronJob", "kubernetes"),
)
_MADE = {"cron": cron_entry, "systemd": systemd_units, "kubernetes": cron_job}
_WHERE = {
    "cron": "Add this line with crontab -e.",
    "systemd": "Write these two files.",
    "kubernetes": "Put in the image and the claim, then kubectl apply it.",
}
_TIMES = "30 3 * * *"


class ScheduleView:
    """An entry for a scheduler, for what is filled in at the moment.

    Args:
        changed: Called when a person has changed the times or the scheduler, on any thread.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        import ipywidgets

        self.times: Any = ipywidgets.Text(
            value=_TIMES, description="When (cron)", layout={"width": "20em"}
        )
        self.times.tooltip = "Minute, hour, day of the month, month, day of the week"
        self.kind: Any = ipywidgets.Dropdown(
            options=_KINDS, value="cron", description="For", layout={"width": "18em"}
        )
        for each in (self.times, self.kind):
            each.style.description_width = "auto"
            each.observe(lambda _: changed(), "value")
        self._entry: Any = ipywidgets.HTML()
        self._entry.add_class("aof-wrap")
        bar: Any = ipywidgets.HBox([self.times, self.kind], layout={"flex_flow": "row wrap"})
        self.widget: Any = ipywidgets.VBox([bar, self._entry])

    def show(self, make: Callable[[], Job]) -> None:
        """Shows the entry for a job; what is wrong instead, where something is."""
        value = self._shown(make)
        if self._entry.value != value:
            self._entry.value = value

    def _shown(self, make: Callable[[], Job]) -> str:
        kind: str = self.kind.value
        try:
            job = make()
            entry = _MADE[kind](job, parse_times(self.times.value))
        except AofError as error:
            remedy = f" → {error.remedy}" if error.remedy else ""
            said = html_text(f"{error.message}{remedy}")
            return f'<div class="aof-problem" role="alert">{said}</div>'
        notes = [_WHERE[kind], "Nothing is scheduled from here."]
        if job.secrets:
            names = ", ".join(dict.fromkeys(job.secrets.values()))
            notes.append(
                f"Set {names} where it runs: values that look secret are not written here."
            )
        if job.approve == "ask":
            notes.append(
                "A run that needs an approval ends as waiting: answer on the page Approvals, and "
                "go on with it among the last results."
            )
        said = html_text(" ".join(notes))
        return f'<div>{said}</div><pre tabindex="0" aria-label="Entry">{html_text(entry)}</pre>'
