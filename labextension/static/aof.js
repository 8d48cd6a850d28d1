// Prompts read as Markdown, and definitions as YAML, in cells that begin with our magics. A notebook
// is saved when a run begins to show itself in it, and when that has ended: a page that is loaded
// again knows only what the file holds.
//
// This is what a bundler would write of a federated extension, without one: a container that is
// given JupyterLab's shared modules, and gives the plugins.
(() => {
  const MIME_TYPES = [
    [/^\s*%%aof_(agent|mcp)\b/, "text/x-yaml"],
    [/^\s*%%aof(\s|$)/, "text/x-markdown"],
  ];
  const SETTLED = 200;
  const PAUSE = 1000;
  // What saving may take of the time, where a notebook is large or its server far away.
  const SHARE = 0.1;
  // JupyterLab takes this much for the clock of a file system.
  const MARGIN = 500;
  let shared = {};

  const wanted = (cell) => {
    const source = cell.sharedModel.getSource();
    const found = MIME_TYPES.find(([begins]) => begins.test(source));
    return found ? found[1] : null;
  };

  const highlight = (cell, languages) => {
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

  // JupyterLab takes a save that overlaps with another for a change on disk, and asks the user about
  // it: those that the user makes wait for ours, and ours for them.
  const oneByOne = (context) => {
    const save = context.save.bind(context);
    let last = Promise.resolve();
    const next = (task) => {
      last = last.catch(() => {}).then(task);
      return last;
    };
    context.save = () => next(save);
    return (wanted) => next(async () => ((await wanted()) ? save() : undefined));
  };

  const changedOnDisk = async (context, contents) => {
    const known = context.contentsModel;
    const found = await contents.get(context.path, { content: false, hash: true });
    if (known.hash && found.hash) return known.hash !== found.hash;
    return Date.parse(found.last_modified) - Date.parse(known.last_modified) > MARGIN;
  };

  const saver = (context, contents) => {
    const saveIf = oneByOne(context);
    // Which of the two files holds is for the user to say, and only when the user saves.
    const free = async () => !context.isDisposed && context.canSave && !(await changedOnDisk(context, contents));
    let due = false;
    let busy = false;
    const save = async () => {
      const began = Date.now();
      due = false;
      try {
        await saveIf(free);
      } catch (error) {
        console.warn("aof-nb: the notebook is not saved", error);
      }
      setTimeout(() => {
        busy = false;
        if (due) begin();
      }, Math.max(PAUSE, (Date.now() - began) / SHARE));
    };
    const begin = () => {
      due = true;
      if (busy) return;
      busy = true;
      setTimeout(save, SETTLED);
    };
    return begin;
  };

  const alive = (output) => output.metadata?.aof?.autosave === true;

  const keep = (cell, save) => {
    cell.outputs.changed.connect((_, change) => {
      if (change.type !== "add" && change.type !== "set") return;
      if (change.newValues.some(alive) !== change.oldValues.some(alive)) save();
    });
  };

  // Has code cells visited, those that are there and those that are added; `open` says by what.
  const forCells = (tracker, open) => {
    const seen = new WeakSet();
    const look = (panel) => {
      // Several views of a notebook have one model.
      if (seen.has(panel.context)) return;
      seen.add(panel.context);
      panel.context.ready.then(() => {
        const cells = panel.model && panel.model.cells;
        if (!cells) return;
        const visit = open(panel.context);
        const all = (found) => {
          for (const cell of found) if (cell.type === "code") visit(cell);
        };
        all(cells);
        cells.changed.connect((_, change) => {
          if (change.type === "add" || change.type === "set") all(change.newValues);
        });
      });
    };
    tracker.widgetAdded.connect((_, panel) => look(panel));
    // A notebook that the page began with may be there before this is.
    tracker.forEach(look);
  };

  const plugins = (INotebookTracker, IEditorLanguageRegistry) => [
    {
      id: "aof-nb:highlighting",
      description: "Highlights cells of aof_nb as what they are.",
      autoStart: true,
      requires: [INotebookTracker, IEditorLanguageRegistry],
      activate: (app, tracker, languages) => {
        forCells(tracker, () => (cell) => highlight(cell, languages));
      },
    },
    {
      id: "aof-nb:saving",
      description: "Saves a notebook when a run of aof_nb begins to show itself, and when it ends.",
      autoStart: true,
      requires: [INotebookTracker],
      activate: (app, tracker) => {
        forCells(tracker, (context) => {
          const save = saver(context, app.serviceManager.contents);
          return (cell) => keep(cell, save);
        });
      },
    },
  ];

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
      const found = plugins(INotebookTracker, IEditorLanguageRegistry);
      return () => ({ __esModule: true, default: found });
    },
  };
})();
