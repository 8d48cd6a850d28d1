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

  const watch = (cell, languages) => {
    if (cell.type !== "code") return;
    // What the kernel's language gave the cell, to go back to.
    let before = null;
    const apply = async () => {
      // The editor takes whichever language has been loaded last: none is to be on its way.
      const types = [wanted(cell), cell.mimeType].filter((each) => each !== null);
      await Promise.allSettled(types.map((each) => languages.getLanguage(each)));
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

  const plugin = (INotebookTracker, IEditorLanguageRegistry) => ({
    id: "aof-nb:highlighting",
    description: "Highlights cells of aof_nb as what they are.",
    autoStart: true,
    requires: [INotebookTracker, IEditorLanguageRegistry],
    activate: (app, tracker, languages) => {
      const look = (panel) => {
        panel.context.ready.then(() => {
          const cells = panel.model && panel.model.cells;
          if (!cells) return;
          for (const cell of cells) watch(cell, languages);
          cells.changed.connect((_, change) => {
            if (change.type !== "add" && change.type !== "set") return;
            for (const cell of change.newValues) watch(cell, languages);
          });
        });
      };
      tracker.widgetAdded.connect((_, panel) => look(panel));
      // A notebook that the page began with may be there before this is.
      tracker.forEach(look);
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
      const { IEditorLanguageRegistry } = await load("@jupyterlab/codemirror");
      const found = plugin(INotebookTracker, IEditorLanguageRegistry);
      return () => ({ __esModule: true, default: found });
    },
  };
})();
