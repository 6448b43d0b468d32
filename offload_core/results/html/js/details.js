// Everything that is known of one test, below its row.

function detailsOf(test) {
  const parts = [];
  const place = test.line ? `${test.path}:${test.line}` : test.path;
  parts.push(make("p", { class: "note" }, [place, data.groups.length > 1 ? `group ${test.group}` : ""].filter(Boolean).join(" · ")));
  if (test.why) parts.push(make("p", {}, `Not run: ${test.why}`));
  // the attempt that decided is what people came for
  for (const attempt of test.attempts.toReversed()) parts.push(attemptSection(attempt));
  return parts;
}

function attemptSection(attempt) {
  const count = attempt.test.attempts.length;
  const known = data.outcomes.includes(attempt.kind) ? attempt.kind : "dropped";
  const facts = [];
  if (attempt.lane) facts.push(`sandbox ${attempt.lane.name}`);
  facts.push(`${duration(attempt.seconds)} from ${duration(attempt.start)}`);
  const head = make(
    "h3", {},
    make("span", {}, count > 1 ? `Attempt ${attempt.place + 1} of ${count}` : "Attempt"),
    badge(known, told(attempt)),
    make("span", { class: "note" }, facts.join(" · ")),
  );
  if (attempt.lane) {
    const show = () => timeline.reveal(attempt);
    head.append(make("button", { type: "button", class: "quiet", onclick: show }, "Show on the timeline"));
  }
  const section = make("div", { class: "attempt" }, head);
  if (attempt.message && !attempt.details.includes(attempt.message)) section.append(pre("Message", attempt.message, false));
  if (attempt.details) section.append(pre("Traceback", attempt.details, true));
  for (const [title, text] of attempt.output) section.append(make("h4", {}, title), pre(title, text, false));
  return section;
}

/** A text of the sandbox's; the lines in which pytest says what was wrong stand out. */
function pre(label, text, marked) {
  const element = make("pre", { tabindex: "0", role: "group", "aria-label": label });
  if (!marked) {
    element.textContent = text;
    return element;
  }
  for (const line of text.split(/(?<=\n)/)) {
    element.append(/^E( |$)/m.test(line) ? make("span", { class: "e" }, line) : line);
  }
  return element;
}
