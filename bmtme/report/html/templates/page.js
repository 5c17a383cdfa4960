"use strict";
// Sorting, a filter and a button to copy: without them the page says the same.
const number = (text) => {
  const found = text.replace(/,/g, "").match(/-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
  return found ? Number(found[0]) : NaN;
};
const sort = (table, place, header) => {
  const body = table.tBodies[0];
  const sorted = header.getAttribute("aria-sort");
  const numeric = header.classList.contains("n");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  let upward = numeric ? sorted === "descending" : sorted !== "ascending";
  const keyed = Array.from(body.rows, (row) => {
    const text = row.cells[place].textContent.trim();
    return [numeric ? number(text) : text, row];
  });
  const collate = new Intl.Collator(undefined, { numeric: true }).compare;
  const arrange = (sign) => keyed.sort(([a], [b]) => {
    if (!numeric) return sign * collate(a, b);
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return sign * (a - b);
  });
  arrange(upward ? 1 : -1);
  // Where a first click would change nothing, it turns the table.
  if (!sorted && keyed.every(([, row], place) => row === body.rows[place])) {
    upward = !upward;
    arrange(upward ? 1 : -1);
  }
  header.setAttribute("aria-sort", upward ? "ascending" : "descending");
  const printed = Array.from(body.rows).filter((row) => !row.classList.contains("more")).length;
  keyed.forEach(([, row], place) => row.classList.toggle("more", place >= printed));
  body.append(...keyed.map(([, row]) => row));
};
for (const box of document.querySelectorAll(".long")) {
  const table = box.querySelector("table");
  Array.from(table.tHead.rows[0].cells).forEach((header, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, place, header));
  });
  const rows = Array.from(table.tBodies[0].rows);
  if (rows.length < 12) continue;
  const tools = document.createElement("p");
  const count = document.createElement("span");
  const input = document.createElement("input");
  tools.className = "tools";
  input.type = "search";
  input.placeholder = "filter by name or value";
  input.setAttribute("aria-label", "filter rows");
  count.textContent = `${rows.length} rows; a click on a heading sorts`;
  tools.append(input, count);
  box.before(tools);
  let texts = null;
  input.addEventListener("input", () => {
    texts = texts || rows.map((row) => Array.from(row.cells, (cell) => cell.textContent.trim()).join(" ").toLowerCase());
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const here = words.every((word) => texts[place].includes(word));
      row.hidden = !here;
      shown += here;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  });
}
for (const box of document.querySelectorAll(".copied")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy the text";
  button.addEventListener("click", () => {
    const chosen = document.getSelection();
    const range = document.createRange();
    range.selectNodeContents(box);
    chosen.removeAllRanges();
    chosen.addRange(range);
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it with Ctrl+C";
  });
  box.before(button);
}
