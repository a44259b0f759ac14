// Small tools to make and find elements; text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id, or the first that matches below it. */
export function find(id, selector) {
  const element = document.getElementById(id);
  return selector ? element.querySelector(selector) : element;
}

/** Make an element: attributes (false and undefined are left out), then children or texts. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for a part of a drawing. */
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

/** A table with headers; each row is an array of texts or elements, the first of which heads it. */
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

/** What is shown where there is nothing. */
export function nothing(text) {
  return make("p", { class: "empty" }, text);
}

/** An amount of cents as people write it. */
export function money(cents) {
  return (cents / 100).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

/** The time of day of a moment in milliseconds. */
export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}
