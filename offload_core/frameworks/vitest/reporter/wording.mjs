// What is said to the host, and Vitest's objects in words that hold for every version.
import fs from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';

export const settings = JSON.parse(process.env.OFFLOAD_VITEST);
delete process.env.OFFLOAD_VITEST;
if (process.env.TMPDIR) fs.mkdirSync(process.env.TMPDIR, { recursive: true });

export const MAX_TEXT = 1 << 20;
export const ENDED = ['pass', 'fail', 'skip', 'todo'];

export function emit(event) {
  process.stdout.write(`${settings.token} ${JSON.stringify(event)}\n`);
}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

export function cut(text) {
  if (text.length <= MAX_TEXT) return text;
  const half = MAX_TEXT / 2;
  return `${text.slice(0, half)}\n[... ${text.length} characters in all ...]\n${text.slice(-half)}`;
}

export function nameOf(project) {
  return (typeof project.getName === 'function' ? project.getName() : project.name) || '';
}

export function relative(file) {
  const found = path.relative(settings.root, file);
  return found.startsWith('..') ? path.relative(fs.realpathSync(settings.root), file) : found;
}

export function moduleId(project, file) {
  const shown = relative(file).split(path.sep).join('/');
  return project ? `[${project}] ${shown}` : shown;
}

// Every test of a file in the order of its source, with the names that lead to it, and which of its namesakes it is.
export function* testsOf(file) {
  const numbers = new Map();
  function* walk(tasks, names, suites) {
    for (const task of tasks) {
      if (task.type === 'suite') {
        yield* walk(task.tasks, [...names, task.name], [...suites, task]);
      } else {
        const name = [...names, task.name].join(' > ');
        const number = numbers.get(name) ?? 0;
        numbers.set(name, number + 1);
        yield { task, name, number, suites, plain: [...names, task.name].join(' ') };
      }
    }
  }
  yield* walk(file.tasks, [], [file]);
}

export function* emptySuites(suite) {
  for (const task of suite.tasks) {
    if (task.type !== 'suite') continue;
    if (task.tasks.length === 0 && task.mode === 'run') yield task;
    yield* emptySuites(task);
  }
}

export function explained(error) {
  const parts = [];
  for (let each = error, depth = 0; each && depth < 5; each = each.cause, depth++) {
    const message = stripVTControlCharacters(String(each.message ?? each));
    const name = each.name && each.name !== 'Error' && !message.startsWith(each.name) ? `${each.name}: ` : '';
    parts.push(`${depth ? 'Caused by: ' : ''}${name}${message}`);
    if (each.diff) parts.push(stripVTControlCharacters(String(each.diff)));
    const frames = String(each.stack ?? each.stackStr ?? '').split('\n').filter((line) => /^\s+at /.test(line));
    const own = frames.filter((line) => !line.includes('/node_modules/') && !line.includes('node:internal'));
    if (frames.length) parts.push((own.length ? own : frames).map(stripVTControlCharacters).join('\n'));
    if (each.codeFrame) parts.push(stripVTControlCharacters(String(each.codeFrame)));
    if (typeof each !== 'object') break;
  }
  return cut(parts.join('\n'));
}

export function failure(errors) {
  const details = (errors ?? []).map(explained);
  return { message: cut((details[0] ?? '').split('\n').slice(0, 1).join('')), details: cut(details.join('\n\n')) };
}

// What both modes do to a configuration: nothing is written, nothing ends early, nothing but tests is run.
export function prepare(vitest, change) {
  const configs = new Set([vitest.config, ...vitest.projects.map((project) => project.config)]);
  for (const config of configs) {
    if (config.browser?.enabled) throw new Error('Offload does not run tests in Vitest\'s browser mode');
    config.bail = 0;
    if (config.typecheck) config.typecheck.enabled = false;
    if (config.snapshotOptions?.updateSnapshot === 'new') config.snapshotOptions.updateSnapshot = 'none';
    change(config);
  }
}
