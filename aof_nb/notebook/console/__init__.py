"""The console: agents, runs, servers, models and more, made of widgets in a notebook.

A page is a class that takes a `aof_nb.notebook.console.page.Host` and satisfies
`aof_nb.notebook.console.page.Page`. It is a line in `PAGES`, by the name of its module and class;
the module is imported when the page is first shown. What holds for every page:

- `build` makes its widgets and does nothing that takes time.
- `refresh` brings them up to date. It is awaited at once when the page is shown and each `interval`
  seconds while it is looked at, and is cancelled when another page is. What blocks, such as
  reading journals, goes to `asyncio.to_thread`.
- Clicks may come on any thread, and do nothing but hand work to `Host.start`, which runs it on the
  console's loop. What it raises is shown on the page, with its remedy.
- Text from models, tools and files goes through `aof_nb.markdown` or `html.escape` wherever it
  becomes HTML. Tables (`aof_nb.notebook.console.table`) and forms
  (`aof_nb.notebook.console.forms`) do so of themselves.
"""

from __future__ import annotations

from typing import Final

PAGES: Final[dict[str, str]] = {
    "Agents": "aof_nb.notebook.console.agents:AgentsPage",
    "Runs": "aof_nb.notebook.console.runs:RunsPage",
    "Approvals": "aof_nb.notebook.console.approvals:ApprovalsPage",
    "Logs": "aof_nb.notebook.console.logs:LogsPage",
    "MCP": "aof_nb.notebook.console.mcp:McpPage",
    "Models": "aof_nb.notebook.console.models:ModelsPage",
    "Memory": "aof_nb.notebook.console.memory:MemoryPage",
    "Runbooks": "aof_nb.notebook.console.runbooks:RunbooksPage",
}
"""The pages, in the order of their tabs: the title, and where the class is."""
