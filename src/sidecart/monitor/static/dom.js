// Create and find elements; text is never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

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

/** A table with column headers; each row is an array whose first text or element heads the row. */
export function table(caption, heads, rows) {
  return make(
    "table",
    {},
    make("caption", { class: "hidden" }, caption),
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make(
      "tbody",
      {},
      ...rows.map(([first, ...others]) =>
        make("tr", {}, make("th", { scope: "row" }, first), ...others.map((cell) => make("td", {}, cell))),
      ),
    ),
  );
}

/** The placeholder of an empty list. */
export function nothing(text) {
  return make("p", { class: "empty" }, text);
}

/** The time of day of a timestamp in milliseconds. */
export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}
