// A table that makes elements for the rows that are seen only: ten rows or ten thousand cost the same.

import { el } from "./dom.js";

const HEIGHT = 36;
const BEYOND = 6;

// columns: [{title, class, cell(row, node)}]; options: {label, name, role, level(row), expanded(row), className(row), open(row), fold(row)}
export class Table {
  constructor(columns, options) {
    this.columns = columns;
    this.options = options;
    this.rows = [];
    this.at = -1;
    this.nodes = new Map();
    this.spare = [];
    const heads = columns.map((column) => el("span", { role: "columnheader", class: column.class }, column.title));
    this.body = el("div", { class: "body", role: "rowgroup" });
    this.box = el("div", { class: "list " + options.name, role: options.role || "grid", tabindex: "0", "aria-label": options.label, "aria-readonly": "true" },
      el("div", { class: "head", role: "rowgroup" }, el("div", { class: "row", role: "row", "aria-rowindex": "1" }, ...heads)), this.body);
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.box);
  }

  show(rows) {
    this.rows = rows;
    this.body.style.height = rows.length * HEIGHT + "px";
    this.box.setAttribute("aria-rowcount", String(rows.length + 1));
    if (this.at >= rows.length) this.at = rows.length - 1;
    this.draw();
  }

  draw() {
    const top = this.box.scrollTop;
    const first = Math.max(0, Math.floor(top / HEIGHT) - BEYOND);
    const last = Math.min(this.rows.length, Math.ceil((top + this.box.clientHeight) / HEIGHT) + BEYOND);
    for (const [index, node] of this.nodes) {
      if (index < first || index >= last) { node.remove(); this.nodes.delete(index); this.spare.push(node); }
    }
    for (let index = first; index < last; index++) {
      let node = this.nodes.get(index);
      if (!node) {
        node = this.spare.pop() || this.make();
        node.style.transform = "translateY(" + index * HEIGHT + "px)";
        node.setAttribute("aria-rowindex", String(index + 2));
        node.id = this.options.name + "-" + index;
        this.nodes.set(index, node);
        this.body.append(node);
      }
      this.fill(node, this.rows[index], index);
    }
    if (this.spare.length > 60) this.spare.length = 60;
    const active = this.nodes.get(this.at);
    if (active) this.box.setAttribute("aria-activedescendant", active.id);
    else this.box.removeAttribute("aria-activedescendant");
  }

  make() {
    const cells = this.columns.map((column) => el("span", { role: "gridcell", class: column.class }));
    return el("div", { class: "row", role: "row" }, ...cells);
  }

  fill(node, row, index) {
    const { level, expanded, className } = this.options;
    const name = "row " + (className ? className(row) : "") + (index === this.at ? " at" : "");
    if (node.className !== name) node.className = name;
    if (level) node.setAttribute("aria-level", String(level(row)));
    const open = expanded ? expanded(row) : null;
    if (open === null) node.removeAttribute("aria-expanded");
    else node.setAttribute("aria-expanded", String(open));
    this.columns.forEach((column, at) => column.cell(row, node.children[at]));
  }

  key(event) {
    if (event.target !== this.box) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.rows.length, End: this.rows.length };
    const row = this.rows[this.at];
    if (event.key in steps) {
      this.at = Math.min(this.rows.length - 1, Math.max(0, this.at + steps[event.key]));
      const head = this.box.firstElementChild.offsetHeight;
      const top = this.at * HEIGHT;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      else if (top + HEIGHT + head > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + HEIGHT + head - this.box.clientHeight;
      this.draw();
    } else if (event.key === "Enter" && row && this.options.open) this.options.open(row);
    else if (["ArrowLeft", "ArrowRight", " "].includes(event.key) && row && this.options.fold) this.options.fold(row);
    else return;
    event.preventDefault();
  }

  end() { this.observer.disconnect(); }
}
