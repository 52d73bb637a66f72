"use strict";

// The preview without leaving the form, which so keeps its file; the beginning of the file is enough for it.
const MOST = 1000000;
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

// Whole lines; what cannot be read in part is sent whole.
async function beginningOf(file) {
  if (file.size <= MOST || /\.(json|gz)$/i.test(file.name)) {
    return file;
  }
  const beginning = file.slice(0, MOST);
  const end = new Uint8Array(await beginning.arrayBuffer()).lastIndexOf(10);
  return end < 0 ? beginning : beginning.slice(0, end + 1);
}
