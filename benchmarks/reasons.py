"""Why targets are missed, for the page; each is shown only if a target of its words is."""

REASONS: dict[str, str] = {}
