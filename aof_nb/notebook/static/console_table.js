// A table: rows come from the kernel, sorting and filtering stay in the page.
// Everything is set as text, never as HTML.
function made(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export default {
  render({ model, el }) {
    el.classList.add("aof-table");
    let sortedBy = null;
    let descending = false;

    const bar = made("div", "aof-table-bar");
    const filter = made("input");
    filter.type = "search";
    filter.placeholder = "Filter";
    filter.setAttribute("aria-label", `Filter ${model.get("label")}`);
    const count = made("span", "aof-told");
    count.setAttribute("role", "status");
    if (model.get("filterable")) bar.append(filter);
    bar.append(count);

    const scroll = made("div", "aof-table-scroll");
    const table = made("table");
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", model.get("label"));
    const head = table.createTHead();
    const body = table.createTBody();
    scroll.append(table);
    const empty = made("div", "aof-told aof-table-empty");
    el.append(bar, scroll, empty);

    function key(row) {
      const sort = row.sort && row.sort[sortedBy];
      return sort === undefined || sort === null ? row.cells[sortedBy] || "" : sort;
    }

    function shown() {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = model.get("rows").filter((row) => {
        const text = Object.values(row.cells).join(" ").toLowerCase();
        return words.every((word) => text.includes(word));
      });
      if (sortedBy === null) return rows;
      const sign = descending ? -1 : 1;
      return rows.slice().sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (typeof x === "number" && typeof y === "number") return sign * (x - y);
        return sign * String(x).localeCompare(String(y), undefined, { numeric: true });
      });
    }

    function drawHead() {
      head.replaceChildren();
      const line = head.insertRow();
      for (const column of model.get("columns")) {
        const cell = made("th", column.number ? "aof-number" : "");
        cell.scope = "col";
        const button = made("button", "", column.label);
        button.type = "button";
        const here = sortedBy === column.key;
        const order = descending ? "descending" : "ascending";
        cell.setAttribute("aria-sort", here ? order : "none");
        if (here) button.append(made("span", "", descending ? " ▼" : " ▲"));
        button.addEventListener("click", () => {
          descending = sortedBy === column.key ? !descending : Boolean(column.number);
          sortedBy = column.key;
          drawHead();
          drawBody();
          head.querySelectorAll("button")[model.get("columns").indexOf(column)]?.focus();
        });
        cell.append(button);
        line.append(cell);
      }
    }

    function drawBody() {
      const root = el.getRootNode();
      const focused = root.activeElement && body.contains(root.activeElement);
      const before = focused ? root.activeElement.dataset.id : null;
      const place = scroll.scrollTop;
      const rows = shown();
      const selected = model.get("selected");
      const entry = rows.some((row) => row.id === (before ?? selected)) ? before ?? selected : rows[0]?.id;
      const lines = rows.map((row) => {
        const line = made("tr", row.level ? `aof-level-${row.level}` : "");
        // Narrow pages lay rows out as blocks, which are no rows of themselves.
        line.setAttribute("role", "row");
        line.dataset.id = row.id;
        line.tabIndex = row.id === entry ? 0 : -1;
        line.setAttribute("aria-selected", String(row.id === selected));
        for (const column of model.get("columns")) {
          const text = row.cells[column.key] || "";
          const cell = made("td", column.number ? "aof-number" : "", text);
          cell.classList.toggle("aof-wide", Boolean(column.wide));
          cell.setAttribute("role", "gridcell");
          cell.dataset.label = column.label;
          if (text.length > 40) cell.title = text;
          line.append(cell);
        }
        return line;
      });
      body.replaceChildren(...lines);
      scroll.scrollTop = place;
      if (before !== null) lines.find((line) => line.dataset.id === before)?.focus({ preventScroll: true });
      const all = model.get("rows").length;
      count.textContent = rows.length === all ? `${all} shown` : `${rows.length} of ${all} shown`;
      empty.textContent = all ? (rows.length ? "" : "No row has these words.") : model.get("empty");
      scroll.hidden = !rows.length;
      bar.hidden = !all;
    }

    function select(line) {
      if (!line || model.get("selected") === line.dataset.id) return;
      model.set("selected", line.dataset.id);
      model.save_changes();
    }

    function move(line, to) {
      if (!to) return;
      line.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    }

    function typed(event) {
      // The notebook has shortcuts of its own for these keys.
      event.stopPropagation();
      const line = event.target.closest("tbody tr");
      if (!line) return;
      const steps = {
        ArrowDown: line.nextElementSibling,
        ArrowUp: line.previousElementSibling,
        Home: body.firstElementChild,
        End: body.lastElementChild,
      };
      if (event.key in steps) {
        event.preventDefault();
        move(line, steps[event.key]);
      } else if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        select(line);
      }
    }

    body.addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      select(line);
      line?.focus({ preventScroll: true });
    });
    el.addEventListener("keydown", typed);
    filter.addEventListener("input", drawBody);
    model.on("change:rows change:selected change:empty", drawBody);
    model.on("change:columns", () => { drawHead(); drawBody(); });
    drawHead();
    drawBody();
    return () => {
      model.off("change:rows change:selected change:empty", drawBody);
    };
  },
};
