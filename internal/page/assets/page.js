// Adds to a page that is complete without it: sorting, filtering, downloads and
// reading values out. It computes no number.
"use strict";
(() => {
  const make = (tag, text, attributes = {}) => {
    const e = document.createElement(tag);
    if (text) e.textContent = text;
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    return e;
  };
  const valueOf = (row, i) => {
    const text = row.cells[i].textContent.trim();
    const n = parseFloat(text.replace(/[,%\s]/g, ""));
    return /^[-\d]/.test(text) && !/^\d{4}-\d\d/.test(text) && !Number.isNaN(n) ? n : text;
  };
  const compare = (a, b) => {
    if (a === "–" || b === "–") return a === b ? 0 : a === "–" ? 1 : -1;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
  };
  for (const table of document.querySelectorAll("table:not(.plain)")) {
    const body = table.tBodies[0], rows = [...body.rows];
    if (rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((th, i) => {
      const button = make("button", "", { type: "button" });
      button.append(...th.childNodes);
      th.append(button);
      button.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") !== "descending" && i > 0 || th.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sorted = [...body.rows].sort((a, b) => {
          const x = valueOf(a, i), y = valueOf(b, i);
          return x === "–" || y === "–" ? compare(x, y) : down ? compare(y, x) : compare(x, y);
        });
        body.append(...sorted);
      });
    });
    const tools = make("div", "", { class: "tools" });
    if (rows.length > 8) {
      const label = make("label", "Filter "), input = make("input", "", { type: "search" }), count = make("span", "", { role: "status" });
      input.addEventListener("input", () => {
        const wanted = input.value.toLowerCase();
        let left = 0;
        for (const row of rows) left += !(row.hidden = !row.textContent.toLowerCase().includes(wanted));
        count.textContent = wanted ? left + " of " + rows.length + " rows" : "";
      });
      label.append(input);
      tools.append(label, count);
    }
    const pre = table.closest("details")?.querySelector("pre");
    if (pre) {
      const button = make("button", "Download CSV", { type: "button" });
      button.addEventListener("click", () => {
        const link = make("a", "", { download: table.dataset.name + ".csv", href: URL.createObjectURL(new Blob([pre.textContent], { type: "text/csv" })) });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      });
      tools.append(button);
    }
    (table.closest(".scroll") ?? table).before(tools);
  }
  // A figure with several panels can show one of them at a time.
  for (const figure of document.querySelectorAll("figure")) {
    const panels = [...figure.querySelectorAll(".panel")];
    if (panels.length < 2) continue;
    const group = make("div", "", { class: "switch", role: "group", "aria-label": "Show" });
    const names = ["All", ...panels.map((p) => p.querySelector(".panel-head span").textContent)];
    names.forEach((name, i) => {
      const button = make("button", name, { type: "button", "aria-pressed": i === 0 });
      button.addEventListener("click", () => {
        [...group.children].forEach((b) => b.setAttribute("aria-pressed", b === button));
        panels.forEach((p, k) => { p.hidden = i > 0 && k !== i - 1; });
      });
      group.append(button);
    });
    panels[0].before(group);
  }
  // Values under the pointer, or moved to by the arrow keys, from the table.
  for (const plot of document.querySelectorAll("svg[data-column]")) {
    const figure = plot.closest("figure"), table = figure.querySelector("table");
    if (!table) continue;
    const rows = [...table.tBodies[0].rows], points = +plot.dataset.points, column = +plot.dataset.column;
    let out = figure.querySelector(".readout");
    if (!out) {
      out = make("p", "", { class: "readout", role: "status" });
      figure.querySelector("details").before(out);
    }
    const heads = table.tHead.rows[0].cells;
    let at = -1;
    const show = (i) => {
      at = Math.max(0, Math.min(points - 1, i));
      const row = rows[at];
      if (row) out.textContent = row.cells[0].textContent + ": " + heads[column].textContent + " " + row.cells[column].textContent + (row.title ? ", not final yet: " + row.title : "");
    };
    plot.addEventListener("pointermove", (e) => {
      const box = plot.getBoundingClientRect(), left = parseFloat(getComputedStyle(plot).paddingLeft), x = (e.clientX - box.left - left) / (box.width - left);
      show("cells" in plot.dataset ? Math.floor(x * points) : Math.round(x * (points - 1)));
    });
    if ("cells" in plot.dataset && plot !== figure.querySelector("svg[data-column]")) continue; // one stop for the keyboard
    plot.setAttribute("tabindex", "0");
    plot.removeAttribute("aria-hidden");
    plot.setAttribute("role", "img");
    if (!plot.hasAttribute("aria-label")) plot.setAttribute("aria-label", figure.querySelector("h3").textContent + "; arrow keys read the values out");
    plot.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -points, End: points }[e.key];
      if (step === undefined) return;
      e.preventDefault();
      show(at + step);
    });
  }
})();
