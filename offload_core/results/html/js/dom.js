"use strict";

// Elements are made from text, never from markup: what tests say is not trusted.

const byId = (id) => document.getElementById(id);

/** An element with attributes (handlers where they begin with "on") and children: elements, or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** One of the page's icons, which says nothing to a screen reader: a word stands beside it. */
function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", `icon i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const words = (name) => name.replaceAll("_", " ");

/** A state or an outcome: icon and word. */
function badge(name, text = words(name)) {
  return make("span", { class: `state s-${name}` }, icon(name), make("span", { class: "word" }, text));
}

/** Seconds as people read them: 3ms, 0.35s, 12.3s, 2m 05s, 1h 02m. */
function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 0.0995) return `${Math.round(1000 * seconds)}ms`;
  if (seconds < 10) return `${seconds.toFixed(2)}s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m ${two(whole % 60)}s` : `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
}

const thousands = (number) => number.toLocaleString("en");

const plural = (number, noun) => `${thousands(number)} ${noun}${number === 1 ? "" : noun.endsWith("x") ? "es" : "s"}`;
