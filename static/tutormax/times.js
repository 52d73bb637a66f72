"use strict";

// Times in the reader's own time zone, with their offset in the title, and ages that grow. Without it the times are
// those of the server's time zone, as of when the page was loaded.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const loaded = performance.timeOrigin + (performance.getEntriesByType("navigation")[0]?.responseStart ?? 0);
// How far the reader's clock is ahead of the server's, whose time is whole seconds.
const ahead = loaded - 1000 * Number(document.currentScript.dataset.now);
const skew = Math.abs(ahead) < 2000 ? 0 : ahead;

const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const minute = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
const second = (at) => `${minute(at)}:${two(at.getSeconds())}`;

function offset(at) {
  const minutes = -at.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

function age(at) {
  const seconds = Math.max(0, (Date.now() - skew - at) / 1000);
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size).toLocaleString("en")} ${unit}`;
}

const SHOW = {
  age,
  day,
  minute: (at) => `${day(at)} ${minute(at)}`,
  time: (at) => `${day(at)} ${second(at)}`,
  clock: (at) => (day(at) === day(new Date()) ? second(at) : `${day(at)} ${second(at)}`),
};

function show(time) {
  const text = SHOW[time.dataset.show]?.(new Date(time.dateTime));
  if (text && time.textContent !== text) {
    time.textContent = text;
  }
}

// What Django writes by itself: in fields that are only shown, and in its history of an object.
const PLAIN = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)$/;

function markPlainTimes(root) {
  for (const place of root.querySelectorAll(".readonly, #change-history th")) {
    const [, date, clock, hours, minutes] = PLAIN.exec(place.textContent.trim()) ?? [];
    if (date) {
      const time = document.createElement("time");
      time.dateTime = `${date}T${clock}${hours}:${minutes}`;
      time.dataset.show = "time";
      place.replaceChildren(time);
    }
  }
}

// Also called by refresh.js, for the parts of a page that it has fetched.
function showTimes(root) {
  markPlainTimes(root);
  for (const time of root.querySelectorAll("time[data-show]")) {
    const at = new Date(time.dateTime);
    time.title = `${day(at)} ${second(at)} ${offset(at)}`;
    show(time);
  }
}

showTimes(document);
setInterval(() => document.hidden || document.querySelectorAll("time[data-show=age]").forEach(show), 1000);
