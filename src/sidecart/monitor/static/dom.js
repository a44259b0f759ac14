// Create and find elements; text is never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";
const ROWS_SHOWN = 8;
const expanded = new Set(); // captions of the tables that show all rows

/** The element with this id, or its first descendant that matches the selector. */
export function find(id, selector) {
  const element = document.getElementById(id);
  return selector ? element.querySelector(selector) : element;
}

/** Create an element with attributes (except false, null and undefined) and children or texts. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Create an SVG element, like `make`. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * A table with column headers; each row is an array whose first text or element heads the row.
 *
 * In a narrow panel, each row of a `wide` table is a block of labeled cells (style.css). A block
 * has no role of its own, so the roles are explicit.
 */
export function table(caption, heads, rows, kind = "") {
  const body = rows.map(([first, ...others]) =>
    make(
      "tr",
      { role: "row" },
      make("th", { scope: "row", role: "rowheader" }, first),
      ...others.map((cell, place) => make("td", { role: "cell", "data-label": heads[place + 1] }, cell)),
    ),
  );
  const columns = heads.map((head) => make("th", { scope: "col", role: "columnheader" }, head));
  return make(
    "table",
    { role: "table", class: kind },
    make("caption", { class: "hidden" }, caption),
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...columns)),
    make("tbody", { role: "rowgroup" }, ...body),
  );
}

/** A table of which the first rows are shown, and the others after a click on its button. */
export function limited(caption, heads, rows, kind = "") {
  const whole = table(caption, heads, rows, kind);
  const others = [...whole.tBodies[0].rows].slice(ROWS_SHOWN);
  if (!others.length) return whole;
  const button = make("button", { type: "button", class: "quiet more", onclick: toggle });
  show();
  return make("div", {}, whole, button);

  function toggle() {
    if (!expanded.delete(caption)) expanded.add(caption);
    show();
  }

  function show() {
    const isWhole = expanded.has(caption);
    for (const row of others) row.hidden = !isWhole;
    button.textContent = isWhole ? `Show the first ${ROWS_SHOWN}` : `Show all ${rows.length.toLocaleString("en")}`;
    button.setAttribute("aria-label", `${button.textContent}: ${caption}`);
    button.setAttribute("aria-expanded", String(isWhole));
  }
}

/** Replace the children of an element; the focus stays on the control with the same name. */
export function refill(element, ...children) {
  const name = element.contains(document.activeElement) ? nameOf(document.activeElement) : "";
  element.replaceChildren(...children);
  if (name) [...element.querySelectorAll("button, summary")].find((each) => nameOf(each) === name)?.focus({ preventScroll: true });
}

function nameOf(control) {
  return control.getAttribute("aria-label") ?? control.textContent;
}

/** The placeholder of an empty list. */
export function nothing(text) {
  return make("p", { class: "empty" }, text);
}

/** A number with its noun. */
export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** The time of day of a timestamp in milliseconds. */
export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}
