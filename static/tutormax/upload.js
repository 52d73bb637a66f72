"use strict";

// Says that a file is on its way; and, before it is sent for nothing, that it is too large for a preview.
const form = document.getElementById("upload-form");

form.addEventListener("submit", (event) => {
  const size = [...form.elements.file.files].reduce((sum, file) => sum + file.size, 0);
  const isTooLarge = event.submitter?.name === "_preview" && size > Number(form.dataset.maxPreview);
  document.getElementById("too-large").hidden = !isTooLarge;
  document.getElementById("sending").hidden = isTooLarge;
  if (isTooLarge) {
    event.preventDefault();
  }
});
