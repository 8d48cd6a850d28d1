const seconds = (ms) => {
  const s = ms / 1000;
  return s < 10 ? `${s.toFixed(1)} s` : s < 60 ? `${Math.round(s)} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
};

function render({ model, el }) {
  const items = new Map();
  el.classList.add("aof-run");
  el.innerHTML = `<div class=aof-bar><span class=aof-status role=status aria-live=polite></span>
    <button type=button data-do=stop>Stop</button></div><div class=aof-items role=log aria-label="What the agent does"></div>
    <form class=aof-steer><input aria-label="Say something to the agent while it works"
    placeholder="Say something while it works; the next turn is asked with it"><button>Send</button></form>
    <div class=aof-said role=status aria-live=polite></div>`;
  const [bar, list, form, said] = el.children;
  const page = Math.random().toString(36).slice(2);
  let whole = false;

  const show = ([key, keep, tail]) => {
    let item = items.get(key);
    if (!item) {
      item = { html: "", folds: [], node: document.createElement("div") };
      item.node.className = "aof-item jp-RenderedHTMLCommon jp-RenderedMarkdown";
      items.set(key, item);
      list.append(item.node);
    }
    const html = item.html.slice(0, keep) + tail;
    item.html = html;
    if (item.shown === html) return;
    item.shown = html;
    const scrolled = [...item.node.querySelectorAll("pre, .aof-scroll")].map((each) => [each.scrollTop,
      each.scrollTop + each.clientHeight >= each.scrollHeight - 4]);
    const typed = [...item.node.querySelectorAll("[data-field]")].map((each) => each.value);
    const folded = [...item.node.querySelectorAll("details")].map((each, at) => each.open === item.folds[at] ? undefined : each.open);
    const held = item.node.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    item.node.innerHTML = item.html;
    item.node.querySelectorAll("[data-left]").forEach((each) => { each.until = Date.now() + each.dataset.left * 1000; });
    const folds = [...item.node.querySelectorAll("details")];
    item.folds = folds.map((each) => each.open);
    folds.forEach((each, at) => { if (folded[at] !== undefined) each.open = folded[at]; });
    item.node.querySelectorAll("[data-field]").forEach((each, at) => { if (typed[at] !== undefined) each.value = typed[at]; });
    item.node.querySelectorAll("pre, .aof-scroll").forEach((each, at) => {
      if (scrolled[at]) each.scrollTop = scrolled[at][1] ? each.scrollHeight : scrolled[at][0];
    });
    item.node.querySelectorAll("[data-ticks]").forEach((each) => { each.since = Date.now() - each.dataset.ticks * 1000; });
    if (held) item.node.querySelector(`[data-key="${held}"]`)?.focus();
  };

  const heal = (record) => {
    const cells = model.widget_manager?.context?.model?.cells;
    for (let at = 0; cells && at < cells.length; at++) {
      const outputs = cells.get(at).outputs;
      for (let place = 0; outputs && place < outputs.length; place++) {
        const view = outputs.get(place).data["application/vnd.jupyter.widget-view+json"];
        if (view?.model_id === model.get("view_id"))
          outputs.set(place, { output_type: "display_data", ...record });
      }
    }
  };

  const receive = (message) => {
    // The whole is for the page that has asked for it, what has changed for those that have the rest.
    if (message.all !== page && (message.all !== undefined || !whole)) return;
    whole = true;
    message.items?.forEach(show);
    if (message.status !== undefined) bar.firstChild.textContent = message.status;
    if (message.ended) {
      el.classList.add("aof-ended");
      // The output is replaced in a page that was there all the time; one that was loaded since asks.
      setTimeout(() => { if (el.isConnected) send({ do: "record" }); }, 1500);
    }
    if (message.record) heal(message.record);
    if (message.problem) {
      const problem = list.querySelector(`[data-problem="${CSS.escape(message.problem.call)}"]`);
      if (problem) problem.textContent = message.problem.text;
    }
  };

  const gone = () => {
    if (el.classList.contains("aof-ended")) return;
    bar.firstChild.textContent = "The kernel has ended, and the run with it. %aof runs shows how far it came.";
    el.classList.add("aof-ended");
    el.querySelectorAll(".aof-card button, .aof-bar button").forEach((each) => { each.disabled = true; });
  };
  // A message to a kernel that is gone is an error; a click must not seem to have been taken.
  const send = (message) => { try { model.send(message); } catch { gone(); } };

  const answer = (button) => {
    const card = button.closest("[data-call]");
    const { do: what, ...told } = button.dataset;
    if (card) {
      told.call = card.dataset.call;
      for (const field of card.querySelectorAll("[data-field]")) told[field.dataset.field] = field.value;
    }
    send({ ...told, do: what });
  };

  const copy = async (button) => {
    const text = button.closest(".aof-tools").nextElementSibling.innerText;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages that come over plain HTTP from another machine have no clipboard.
      const area = document.createElement("textarea");
      area.value = text;
      el.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  const search = (input) => {
    const tools = input.closest(".aof-tools");
    const shown = tools.nextElementSibling;
    const wanted = input.value.toLowerCase();
    let count = 0;
    for (const pre of shown.querySelectorAll("pre")) {
      pre.whole ??= pre.innerHTML;
      pre.innerHTML = pre.whole;
      if (!wanted) continue;
      const lines = pre.textContent.split("\n").filter((line) => line.toLowerCase().includes(wanted));
      count += lines.length;
      pre.textContent = lines.join("\n");
    }
    for (const row of shown.querySelectorAll("tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      count += !row.hidden;
    }
    tools.lastElementChild.textContent = wanted ? `${count} lines` : "";
  };

  el.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.do) answer(button);
    else if (button && "copy" in button.dataset) copy(button);
  });
  el.addEventListener("input", (event) => { if ("search" in event.target.dataset) search(event.target); });
  // JupyterLab's own shortcuts are for cells, not for what is typed here.
  el.addEventListener("keydown", (event) => { if (event.target.matches("input, textarea")) event.stopPropagation(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = form.firstElementChild.value.trim();
    if (!text) return;
    send({ do: "steer", text });
    form.firstElementChild.value = "";
    form.firstElementChild.placeholder = said.textContent = "Taken down: the next turn is asked with it";
  });
  // Said at these moments only: a countdown that is read out each second lets nothing else be heard.
  const hurry = (each) => {
    const left = Math.max(0, Math.ceil((each.until - Date.now()) / 1000));
    const text = left ? `${seconds(left * 1000)} left to answer` : "The time to answer is over";
    if (each.textContent !== text) each.textContent = text;
    const due = [300, 60, 10].filter((moment) => left && left <= moment).pop();
    if (each.due !== undefined && due !== undefined && due !== each.due)
      said.textContent = `${seconds(left * 1000)} left to answer: ${each.closest("section").querySelector("b").textContent}`;
    each.due = due ?? null;
  };
  const tick = setInterval(() => {
    list.querySelectorAll("[data-left]").forEach(hurry);
    for (const item of items.values())
      for (const each of item.node.querySelectorAll("[data-ticks]")) each.textContent = `· ${seconds(Date.now() - each.since)}`;
  }, 200);
  const look = () => send({ do: "look" });
  model.on("msg:custom", receive);
  model.on("comm:close", gone);
  model.on("comm_live_update", look);
  send({ do: "ready", page });
  return () => {
    clearInterval(tick);
    model.off("msg:custom", receive);
    model.off("comm:close", gone);
    model.off("comm_live_update", look);
  };
}

export default { render };
