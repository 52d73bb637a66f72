"use strict";

// The preview without leaving the form, which so keeps its file; the beginning of the file is enough for it.
const MOST = 20000000;
const form = document.getElementById("upload-form");
const shown = document.getElementById("preview");

form.addEventListener("submit", (event) => {
  if (event.submitter?.name !== "_preview") {
    document.getElementById("sending").hidden = false;
    return;
  }
  event.preventDefault();
  preview(event.submitter);
});

async function preview(button) {
  const data = new FormData(form);
  const file = data.get("file");
  data.set("file", await beginningOf(file), file.name);
  data.set("_preview", "1");
  data.set("_part", "1");
  button.disabled = true;
  try {
    const response = await fetch(location.href, { method: "POST", body: data });
    if (response.ok) {
      shown.innerHTML = await response.text();
    } else {
      shown.textContent = `The server answered ${response.status}.`;
    }
  } catch {
    shown.textContent = "The server could not be reached: try again.";
  }
  button.disabled = false;
}

// Whole lines; what cannot be read in part is sent whole, as is UTF-16, whose lines end otherwise.
async function beginningOf(file) {
  if (file.size <= MOST || /\.(json|gz|xlsx)$/i.test(file.name) || (await startsAsUtf16(file))) {
    return file;
  }
  const beginning = file.slice(0, MOST);
  const end = new Uint8Array(await beginning.arrayBuffer()).lastIndexOf(10);
  return end < 0 ? beginning : beginning.slice(0, end + 1);
}

async function startsAsUtf16(file) {
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return (first === 255 && second === 254) || (first === 254 && second === 255);
}
