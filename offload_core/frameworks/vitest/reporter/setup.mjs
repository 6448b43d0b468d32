// It is part of each test file: it says what begins, and lets only run what is asked for. The words in capitals are
// replaced by values when a session writes it.
import { afterEach, beforeAll, beforeEach, expect } from VITEST;
const { appendFileSync, readFileSync, statSync } = process.getBuiltinModule?.('node:fs') ?? await import('node:fs');
const tell = (...line) => appendFileSync(BEGAN, JSON.stringify(line) + '\n');
const module = PROJECT + '\0' + expect.getState().testPath;
tell('m', module);
const keys = new Map();
let asked, version;

function read() {
  const { ino, mtimeMs, size } = statSync(ASKED);
  const now = [ino, mtimeMs, size].join();
  if (now === version) return false;
  version = now;
  asked = new Map(JSON.parse(readFileSync(ASKED, 'utf8'))[module]);
  return true;
}

read();
if (!asked.size) throw new Error('nothing of this file is asked for');

function choose(suite, names, numbers) {
  let some = false;
  for (const task of suite.tasks) {
    const path = [...names, task.name];
    if (task.type === 'suite') {
      if (choose(task, path, numbers)) some = true;
      else if (!task.result?.startTime) task.mode = 'skip';
      continue;
    }
    const name = path.join(' > ');
    const number = numbers.get(name) ?? 0;
    numbers.set(name, number + 1);
    const key = asked.get(number + ' ' + name);
    if (key !== undefined) some = true;
    else if (!task.result?.startTime) task.mode = 'skip';
    keys.set(task.id, key);
  }
  return some;
}

beforeAll(function () {
  choose([...arguments].find((each) => Array.isArray(each?.tasks)), [], new Map());
});

// Another sandbox may have taken over what has not begun. See `revoke` for the order.
beforeEach(({ task, skip }) => {
  const key = keys.get(task.id);
  if (key === undefined) return;
  tell('t', key);
  if (!read()) return;
  keys.clear();
  choose(task.file, [], new Map());
  if (!keys.get(task.id)) skip();
});

// Vitest tells results late; this is for a test whose process dies just after it. What is run again does not count.
afterEach(({ task }) => {
  const key = keys.get(task.id);
  const { errors, pending, startTime } = task.result ?? {};
  const skipped = pending || task.mode === 'skip';
  if (key === undefined || (errors?.length && task.retry)) return;
  const outcome = skipped ? 'skipped' : Boolean(errors?.length) === Boolean(task.fails) ? 'passed' : 'failed';
  tell('e', key, outcome, String(errors?.[0]?.message ?? '').slice(0, 2000), Date.now() - (startTime ?? Date.now()));
});
