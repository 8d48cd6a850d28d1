// Prompts read as Markdown, and definitions as YAML, in cells that begin with our magics.
//
// This is what a bundler would write of a federated extension, without one: a container that is
// given JupyterLab's shared modules, and gives the plugin.
(() => {
  const MIME_TYPES = [
    [/^\s*%%aof_(agent|mcp)\b/, "text/x-yaml"],
    [/^\s*%%aof(\s|$)/, "text/x-markdown"],
  ];
  let shared = {};

  const wanted = (cell) => {
    const source = cell.sharedModel.getSource();
    const found = MIME_TYPES.find(([begins]) => begins.test(source));
    return found ? found[1] : null;
  };

  const watch = (cell) => {
    if (cell.type !== "code") return;
    // What the kernel's language gave the cell, to go back to.
    let before = null;
    const apply = () => {
      const type = wanted(cell);
      if (type !== null && cell.mimeType !== type) {
        before = cell.mimeType;
        cell.mimeType = type;
      } else if (type === null && before !== null) {
        cell.mimeType = before;
        before = null;
      }
    };
    cell.sharedModel.changed.connect(apply);
    cell.mimeTypeChanged.connect(apply);
    apply();
  };

  const plugin = (INotebookTracker) => ({
    id: "aof-nb:highlighting",
    description: "Highlights cells of aof_nb as what they are.",
    autoStart: true,
    requires: [INotebookTracker],
    activate: (app, tracker) => {
      tracker.widgetAdded.connect((_, panel) => {
        panel.context.ready.then(() => {
          const cells = panel.model && panel.model.cells;
          if (!cells) return;
          for (const cell of cells) watch(cell);
          cells.changed.connect((_, change) => {
            if (change.type === "add" || change.type === "set") change.newValues.forEach(watch);
          });
        });
      });
    },
  });

  const load = async (name) => {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["aof-nb"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async (module) => {
      if (module !== "./extension") throw new Error(`aof-nb has no module ${module}`);
      const { INotebookTracker } = await load("@jupyterlab/notebook");
      return () => ({ __esModule: true, default: plugin(INotebookTracker) });
    },
  };
})();
