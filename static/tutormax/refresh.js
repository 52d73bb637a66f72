"use strict";

// Parts of a page with data-refresh="seconds" are fetched again and replaced, as long as they say so themselves.
// Nothing is asked while the page is hidden.
const part = () => document.querySelector("[data-refresh]");
let waiting = 0;

function later() {
  clearTimeout(waiting);
  if (part() && !document.hidden) {
    waiting = setTimeout(refresh, 1000 * Number(part().dataset.refresh));
  }
}

async function refresh() {
  try {
    const response = await fetch(location.href);
    if (response.redirected) {
      return; // logged out
    }
    if (response.ok) {
      replace(new DOMParser().parseFromString(await response.text(), "text/html"));
    }
  } catch {
    // the server is away: ask again
  }
  later();
}

function replace(page) {
  for (const old of document.querySelectorAll("[data-refresh]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && !old.contains(document.activeElement)) {
      old.replaceWith(fresh);
    }
  }
}

document.addEventListener("visibilitychange", later);
later();
