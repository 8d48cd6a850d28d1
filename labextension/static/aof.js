// Prompts read as Markdown, and definitions as YAML, in cells that begin with our magics. A notebook
// is saved when a run begins to show itself in it, and when that has ended: a page that is loaded
// again knows only what the file holds. Of a run whose kernel is gone, the text is shown.
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

  const VIEW = "application/vnd.jupyter.widget-view+json";

  // Takes views out of outputs that were loaded and whose kernel is gone, so that the text beside
  // them is read. A kernel that does not answer may have the view: it is asked again later.
  const mourner = (context) => {
    const session = context.sessionContext;
    const waiting = new Set();
    let busy = false;
    const views = (cell) => {
      const found = [];
      for (let at = 0; !cell.isDisposed && at < cell.outputs.length; at++) {
        const { data, metadata } = cell.outputs.get(at).toJSON();
        const id = metadata?.aof && data?.["text/markdown"] && data[VIEW]?.model_id;
        if (id) found.push([at, id]);
      }
      return found;
    };
    const strip = (cell, living, before) => {
      for (const [at, id] of views(cell)) {
        if (id in living || !before.has(id)) continue;
        const output = cell.outputs.get(at).toJSON();
        const { [VIEW]: _, ...data } = output.data;
        cell.outputs.set(at, { ...output, data });
      }
    };
    const look = async () => {
      if (busy || waiting.size === 0) return;
      busy = true;
      try {
        await session.ready;
        const kernel = session.session?.kernel;
        const asked = [...waiting].map((cell) => [cell, new Set(views(cell).map(([, id]) => id))]);
        let living = {};
        if (kernel && kernel.status !== "dead") {
          const reply = await kernel.requestCommInfo({ target_name: "jupyter.widget" });
          if (reply.content.status !== "ok" || session.session?.kernel !== kernel) return;
          living = reply.content.comms;
        }
        for (const [cell, before] of asked) {
          waiting.delete(cell);
          strip(cell, living, before);
        }
        // Those that came while the kernel was asked.
        if (waiting.size > 0) setTimeout(look);
      } catch (error) {
        console.debug("aof-nb: the kernel does not say which views it has", error);
      } finally {
        busy = false;
      }
    };
    session.kernelChanged.connect(look);
    session.statusChanged.connect((_, status) => {
      if (status === "idle" || status === "dead") look();
    });
    return (cell) => {
      if (views(cell).length === 0) return;
      waiting.add(cell);
      look();
    };
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
    {
      id: "aof-nb:ended",
      description: "Shows the text of a view of aof_nb whose kernel is gone.",
      autoStart: true,
      requires: [INotebookTracker],
      activate: (app, tracker) => {
        forCells(tracker, mourner);
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
