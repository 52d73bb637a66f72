"use strict";

// Parts of a page with data-refresh="seconds" are fetched again and replaced, as long as they say so themselves.
// Nothing is asked while the page is hidden. What has not changed is left alone; so is a part that has the focus or
// holds a selected text, so that neither is lost. What is unfolded stays unfolded.
const part = () => document.querySelector("[data-refresh]");
let waiting = 0;

function later() {
  clearTimeout(waiting);
  if (part() && !document.hidden) {
    waiting = setTimeout(refresh, 1000 * Number(part().dataset.refresh));
  }
}

function shownAgain() {
  clearTimeout(waiting);
  if (part() && !document.hidden) {
    refresh();
  }
}

async function refresh() {
  try {
    const response = await fetch(location.href, { headers: { "X-Refresh": "1" } }); // it keeps nobody logged in
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
  if (document.title !== page.title) {
    document.title = page.title;
  }
  for (const old of document.querySelectorAll("[data-refresh]")) {
    const fresh = page.getElementById(old.id);
    if (!fresh || isInUse(old)) {
      continue;
    }
    showTimes(fresh); // of times.js, on every page
    const folds = fresh.querySelectorAll("details");
    old.querySelectorAll("details").forEach((fold, i) => folds[i]?.toggleAttribute("open", fold.open));
    if (fresh.isEqualNode(old)) {
      continue;
    }
    if (old.firstElementChild) {
      const scrolled = [...old.querySelectorAll(".scrolled")].map((box) => [box.scrollLeft, box.scrollTop]);
      old.replaceWith(fresh);
      fresh.querySelectorAll(".scrolled").forEach((box, i) => box.scrollTo(...(scrolled[i] ?? [0, 0])));
    } else {
      old.textContent = fresh.textContent; // a text that is told when it changes: the element must stay
    }
  }
}

function isInUse(part) {
  const selection = getSelection();
  return part.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(part, true));
}

document.addEventListener("visibilitychange", shownAgain);
later();
