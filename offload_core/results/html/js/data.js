// The embedded rows, with names. All times are seconds since the run started.

const HEDGE = 1;
const DROPPED = 2;
const AGAIN = 4;
const UNFINISHED = 8;

/** States and outcomes in the order in which people want to see them. */
const SEVERITY = [
  "failed", "error", "timed_out", "crashed", "flaky", "not_run", "xpassed", "xfailed", "skipped", "passed",
];
const BAD = new Set(["failed", "error", "timed_out", "crashed"]);

const data = JSON.parse(byId("data").textContent);

const lanes = data.lanes.map(([name, starting, ready, ended, how, reason, sessions], index) => {
  const opened = sessions.length ? sessions[0][0] : null;
  return { index, name, starting, ready, ended, how, reason, sessions, opened, attempts: [] };
});

const tests = data.tests.map(([id, group, path, state, line, why, rows], index) => {
  const test = { index, id, line, why, group: data.groups[group], path: data.paths[path], state: data.states[state] };
  test.severity = SEVERITY.indexOf(test.state);
  test.attempts = rows.map((row, place) => attemptOf(test, row, place));
  const telling = test.attempts.filter((attempt) => data.outcomes.includes(attempt.kind) && attempt.kind !== "lost");
  test.deciding = telling.at(-1) ?? null;
  test.seconds = test.deciding ? test.deciding.seconds : 0;
  test.lane = test.attempts.length ? test.attempts.at(-1).lane : null;
  // what the table shows below the id, and what the search looks at
  test.message = test.why || telling.findLast((attempt) => attempt.message)?.message || "";
  test.text = `${test.id}\n${test.message}`.toLowerCase();
  return test;
});

function attemptOf(test, [number, lane, outcome, start, seconds, flags, message, details, output], place) {
  const attempt = {
    test, number, place, start, seconds,
    lane: lanes[lane] ?? null,
    kind: outcome >= 0 ? data.outcomes[outcome] : flags & DROPPED ? "dropped" : "unfinished",
    end: seconds === null ? data.end : start + seconds,
    hedge: Boolean(flags & HEDGE),
    again: Boolean(flags & AGAIN),
    message: message ?? "", details: details ?? "", output: output ?? [],
  };
  attempt.rerun = place > 0 && !attempt.hedge;
  attempt.notable = !["passed", "skipped", "xfailed", "xpassed", "dropped"].includes(attempt.kind);
  attempt.lane?.attempts.push(attempt);
  return attempt;
}

for (const lane of lanes) lane.attempts.sort((a, b) => a.start - b.start);

const DIED = new Set(["dead", "lost"]);

/** What an attempt came to, in words. */
function told(attempt) {
  const extra = [];
  if (attempt.kind === "dropped") extra.push("second copy, not needed");
  else if (attempt.kind === "unfinished") extra.push("had not ended");
  else if (attempt.kind === "lost") extra.push("lost with its sandbox");
  else extra.push(words(attempt.kind));
  if (attempt.hedge && attempt.kind !== "dropped") extra.push("second copy");
  if (attempt.again) extra.push("run again");
  return extra.join(", ");
}
