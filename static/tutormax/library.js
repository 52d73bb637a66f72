"use strict";

// The progress of a library renews itself while the page is seen; when all is done, the whole page does, with its
// charts. Without script the page is loaded again every ten seconds.
const EVERY = 2000;
const progress = () => document.getElementById("progress");
let waiting = 0;

function later() {
  clearTimeout(waiting);
  if (progress()?.dataset.progress && !document.hidden) {
    waiting = setTimeout(renew, EVERY);
  }
}

async function renew() {
  try {
    const response = await fetch(progress().dataset.progress);
    if (response.status === 404) {
      location.reload(); // the library has been deleted
      return;
    }
    if (response.ok && show(await response.text())) {
      return;
    }
  } catch {
    // the server is away: ask again
  }
  later();
}

// Whether the page is being loaded anew.
function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("progress");
  if (!fresh) {
    return false;
  }
  if (!fresh.dataset.progress) {
    location.reload();
    return true;
  }
  showTimes(fresh); // of times.js
  if (!fresh.isEqualNode(progress()) && !progress().contains(document.activeElement)) {
    progress().replaceWith(fresh);
    document.title = document.title.replace(/^\d+%/, `${Math.round(fresh.querySelector("progress").value)}%`);
  }
  return false;
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(waiting) : later()));
later();
