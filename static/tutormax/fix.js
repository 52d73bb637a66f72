"use strict";

// The fix page: numbers beside the lines of the payload, and links that lead to a line. Without it the page works too.
const payload = document.getElementById("id_payload");
const gutter = document.createElement("pre");
gutter.className = "gutter";
gutter.setAttribute("aria-hidden", "true");
payload.before(gutter);
const atFault = new Set([...document.querySelectorAll("[data-line]")].map((link) => Number(link.dataset.line)));
let numbered = 0;

function number() {
  const lines = payload.value.split("\n").length;
  if (lines === numbered) {
    return;
  }
  numbered = lines;
  gutter.replaceChildren();
  let plain = "";
  for (let line = 1; line <= lines; line++) {
    if (atFault.has(line)) {
      const marked = document.createElement("mark");
      marked.textContent = line;
      gutter.append(plain, marked, "\n");
      plain = "";
    } else {
      plain += `${line}\n`;
    }
  }
  gutter.append(`${plain}\n\n`);
  scroll();
}

function scroll() {
  gutter.scrollTop = payload.scrollTop;
}

function goTo(line) {
  const lines = payload.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  payload.focus();
  payload.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  const height = payload.scrollHeight / lines.length;
  payload.scrollTo(0, Math.max(0, (line - 4) * height));
}

payload.addEventListener("input", number);
payload.addEventListener("scroll", scroll);
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-line]");
  if (link) {
    event.preventDefault();
    goTo(Number(link.dataset.line));
  }
});
number();
