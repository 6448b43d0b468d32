// Stays in `onInit` and runs what it is asked to in one warm process.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import { ENDED, MAX_TEXT, cut, emit, explained, failure, moduleId, nameOf, prepare, say, settings, testsOf } from './wording.mjs';

const HEARTBEAT_MS = 5000;
const LOOK_MS = 20;
const CLOSE_MS = 30000;
const CRASHED_MS = 1000;
const SPLIT_MS = 1000; // what it is worth to import a module a second time for
const ROUNDS = 3; // how often a test is started that does not begin
const TEMPLATE = path.join(settings.reporter, 'setup.mjs'); // what each test file gets

function write(file, text) {
  fs.writeFileSync(`${file}.new`, text);
  fs.renameSync(`${file}.new`, file);
}

// One test that was asked for, in one round.
class Asked {
  constructor([key, id, number, file]) {
    Object.assign(this, { key, id, number, file });
    this.began = this.finished = false;
    this.passed = false;
    this.rounds = 0;
  }
}

export class Session {
  constructor(vitest) {
    this.vitest = vitest;
    this.queue = [];
    this.round = new Map(); // by key
    this.modules = new Map(); // of the round: which tests, by module
    this.imported = new Set(); // modules of the round whose import has begun
    this.tasks = new Map(); // by Vitest's id: the test that was asked for
    this.logs = new Map();
    this.unhandled = new Set();
    this.order = this.finished = this.spent = 0;
    this.closing = this.running = false;
    this.wake = () => {};
    this.began = `${settings.directory}/began.jsonl`;
    this.asked = `${settings.directory}/asked.json`;
    fs.mkdirSync(settings.directory, { recursive: true });
    fs.writeFileSync(this.began, '');
    this.source = fs.openSync(this.began, 'r');
    prepare(vitest, (config) => {
      config.testNamePattern = undefined;
    });
    for (const project of vitest.projects) project.config.setupFiles.unshift(this.setup(project));
  }

  // The same copy of Vitest that the tests of this project import.
  setup(project) {
    const entry = createRequire(path.join(project.config.root, 'package.json')).resolve('vitest');
    const values = {
      VITEST: pathToFileURL(path.join(path.dirname(entry), 'dist/index.js')).href,
      BEGAN: this.began,
      ASKED: this.asked,
      PROJECT: nameOf(project),
    };
    const name = `setup-${this.vitest.projects.indexOf(project)}.mjs`;
    const text = fs.readFileSync(TEMPLATE, 'utf8').replace(/\b(VITEST|BEGAN|ASKED|PROJECT)\b/g, (word) => JSON.stringify(values[word]));
    write(`${settings.directory}/${name}`, text);
    return `${settings.directory}/${name}`;
  }

  async run() {
    // What a dying test process leaves unhandled in this one would end it, and with it the tests of the others.
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => this.unhandled.add(explained(error)));
    const lines = createInterface({ input: process.stdin });
    lines.on('line', (line) => this.request(JSON.parse(line)));
    lines.on('close', () => this.request({ close: true }));
    setInterval(() => emit({ event: 'heartbeat' }), HEARTBEAT_MS).unref();
    emit({ event: 'hello', versions: `vitest ${this.vitest.version}, node ${process.versions.node}` });
    const specs = await this.specifications();
    for (;;) {
      while (!this.queue.length && !this.closing) await new Promise((resolve) => (this.wake = resolve));
      if (this.closing) break;
      await this.one(specs);
    }
    await this.end('');
  }

  async end(crash) {
    if (crash) say(crash);
    const patience = new Promise((resolve) => setTimeout(resolve, crash ? CRASHED_MS : CLOSE_MS));
    await Promise.race([this.vitest.close(), patience]);
    if (!crash) emit({ event: 'bye', reason: '' });
    process.exit(crash ? 1 : 0);
  }

  request({ run, revoke, n, close }) {
    if (run) this.queue.push(...run.map((row) => new Asked(row)));
    if (revoke) emit({ event: 'revoked', keys: this.revoke(new Set(revoke)), n });
    if (close) this.closing = true;
    this.wake();
  }

  // Takes back what waits behind what Vitest works on, and of that what has not begun. Something always stays: two idle
  // sandboxes must not take the same tests from each other for ever. A test process says that it begins with a test
  // before it looks at what is asked for: if it has said nothing when the new list is in place, it will see that.
  revoke(keys) {
    if (!this.running) return [];
    this.look();
    const wanted = ({ key }) => keys.has(key);
    const back = this.queue.filter(wanted);
    this.queue = this.queue.filter((test) => !wanted(test));
    const before = new Map(this.modules);
    for (const [module, tests] of before) {
      if (this.parts(module, tests, wanted)) this.modules.set(module, tests.filter((test) => !wanted(test) || test.began));
    }
    this.publish();
    this.look();
    for (const [module, tests] of before) {
      const kept = new Set(this.modules.get(module));
      for (const test of tests) {
        if (kept.has(test)) continue;
        this.round.delete(test.key);
        if (test.began) this.queue.push(test); // nobody knows which list was read
        else back.push(test);
      }
    }
    return back.map(({ key }) => key);
  }

  // Whether tests of a module may be taken: all of one that has not begun, else only what is worth another import.
  parts(module, tests, wanted) {
    const open = tests.filter((test) => !test.began && !test.finished);
    const gone = open.filter(wanted).length;
    if (!gone) return false;
    const busy = [...this.modules].find(([, some]) => some.some((test) => !test.finished))?.[0];
    if (gone === tests.length && module !== busy && !this.imported.has(module)) return true;
    // Vitest may tell the result of a test only when the next one has ended: what the test process noted counts, too.
    const noted = [...this.round.values()].filter(({ finished, last }) => last && !finished);
    const spent = noted.reduce((sum, { last }) => sum + last[2], this.spent);
    return gone < open.length && (gone * spent) / Math.max(this.finished + noted.length, 1) > SPLIT_MS;
  }

  publish() {
    const asked = {};
    for (const [module, tests] of this.modules) {
      const [project, file] = module.split('\0');
      const start = `${moduleId(project, file)} > `.length;
      asked[module] = tests.map(({ id, number, key }) => [`${number} ${id.slice(start)}`, key]);
    }
    write(this.asked, JSON.stringify(asked));
  }

  async specifications() {
    const { vitest } = this;
    const found = await (vitest.globTestSpecifications ?? vitest.globTestSpecs).call(vitest);
    const specs = new Map();
    for (const spec of found) {
      const project = nameOf(spec.project);
      specs.set(moduleId(project, spec.moduleId), { spec, module: `${project}\0${spec.moduleId}` });
    }
    return specs;
  }

  async one(specs) {
    this.round = new Map();
    this.modules = new Map();
    this.imported = new Set();
    this.tasks = new Map();
    this.logs = new Map();
    this.files = new Map(); // Vitest's, of the round, by module
    this.unhandled = new Set(); // what nobody caught in this process, in words
    const kept = [];
    const chosen = new Map();
    const seen = new Set();
    for (const test of this.queue.filter(({ finished }) => !finished)) {
      const id = this.moduleOf(test, specs);
      if (id === undefined) {
        emit({ event: 'started', key: test.key });
        this.report(test, 'error', 0, { message: `${test.file} is not a test file for Vitest here`, details: '' });
      } else if (seen.has(`${test.number} ${test.id}`)) {
        kept.push(test);
      } else {
        seen.add(`${test.number} ${test.id}`);
        this.round.set(test.key, test);
        const { spec, module } = specs.get(id);
        chosen.set(module, spec);
        this.modules.set(module, [...(this.modules.get(module) ?? []), test]);
      }
    }
    this.queue = kept;
    if (!chosen.size) return;
    this.publish();
    fs.truncateSync(this.began);
    this.position = 0;
    this.rest = '';
    this.running = true;
    const looking = setInterval(() => this.look(), LOOK_MS);
    let broken;
    try {
      const run = this.vitest.runTestSpecifications ?? this.vitest.runFiles;
      await run.call(this.vitest, [...chosen.values()], false);
    } catch (error) {
      broken = error;
    } finally {
      clearInterval(looking);
      this.running = false;
    }
    await this.settle(broken);
  }

  moduleOf(test, specs) {
    // The longest, for a file can be called like another one and the beginning of its first test.
    let found;
    for (const id of specs.keys()) {
      if (test.id.startsWith(`${id} > `) && id.endsWith(test.file) && id.length > (found?.length ?? 0)) found = id;
    }
    return found;
  }

  // What the test processes have written since.
  look() {
    const buffer = Buffer.alloc(1 << 16);
    for (let size; (size = fs.readSync(this.source, buffer, 0, buffer.length, this.position)) > 0; ) {
      this.position += size;
      this.rest += buffer.toString('latin1', 0, size);
    }
    const lines = this.rest.split('\n');
    this.rest = lines.pop();
    for (const line of lines) {
      const [kind, what, ...last] = JSON.parse(Buffer.from(line, 'latin1').toString('utf8')); // each was one write
      if (kind === 'm') {
        this.imported.add(what);
        const file = this.modules.get(what)?.[0]?.file;
        if (file !== undefined) emit({ event: 'module', path: file });
      } else if (kind === 't') {
        this.start(this.round.get(what));
      } else if (this.round.has(what)) {
        this.round.get(what).last = last;
      }
    }
  }

  start(test) {
    if (test && !test.began) {
      test.began = true;
      emit({ event: 'started', key: test.key });
    }
  }

  report(test, outcome, duration, { message = '', details = '' } = {}, properties = []) {
    test.finished = true;
    test.order = ++this.order;
    this.finished += 1;
    this.spent += duration;
    test.passed = outcome === 'passed' || outcome === 'xfailed';
    test.bad = outcome === 'failed' || outcome === 'error';
    const output = this.logs.get(test.key) ?? {};
    emit({
      event: 'finished',
      key: test.key,
      outcome,
      duration: Math.max(duration, 0) / 1000,
      message,
      details,
      output: Object.entries(output).map(([type, text]) => [`Captured ${type}`, cut(text)]),
      properties,
    });
  }

  collected(file) {
    const module = `${file.projectName || ''}\0${file.filepath}`;
    const tests = this.modules.get(module);
    if (!tests) return;
    this.files.set(module, file);
    const start = `${moduleId(file.projectName, file.filepath)} > `.length;
    const asked = new Map(tests.map((test) => [`${test.number} ${test.id.slice(start)}`, test]));
    for (const { task, name, number, suites } of testsOf(file)) {
      const test = asked.get(`${number} ${name}`);
      if (!test) continue;
      test.task = task;
      test.suites = suites;
      this.tasks.set(task.id, test);
    }
  }

  // A test may have ended. One that was skipped before it began may also be the victim of its suite: see `settle`.
  updated(task) {
    const test = this.tasks.get(task.id);
    const result = task.result;
    if (!test || test.finished || !ENDED.includes(result?.state)) return;
    if (result.state === 'skip' && !this.round.has(test.key)) return; // by `revoke`
    this.look();
    if (result.state === 'pass' || result.state === 'fail' || test.began) this.finish(test, task);
  }

  finish(test, task) {
    const { result } = task;
    const again = result?.retryCount ?? 0;
    const duration = result?.duration ?? 0;
    if (result?.state === 'fail') {
      this.report(test, 'failed', duration, failure(result.errors));
    } else if (result?.state === 'pass') {
      const told = again ? { message: `passed on retry ${again} of Vitest's own` } : {};
      this.report(test, task.fails ? 'xfailed' : 'passed', duration, told, again ? [['retries', `${again}`]] : []);
    } else {
      this.report(test, 'skipped', 0, { message: result?.note ?? (task.mode === 'todo' ? 'todo' : '') });
    }
  }

  logged({ taskId, type, content }) {
    const test = this.tasks.get(taskId);
    if (!test || test.finished) return process.stderr.write(content);
    const output = this.logs.get(test.key) ?? {};
    if ((output[type]?.length ?? 0) < 2 * MAX_TEXT) output[type] = (output[type] ?? '') + content;
    this.logs.set(test.key, output);
  }

  // The round is over: whatever has no result yet gets one, goes back to the queue, or is what a process died of.
  async settle(broken) {
    this.look();
    const errors = [...this.vitest.state.getUnhandledErrors()];
    if (broken) errors.unshift(broken);
    const lost = [];
    for (const [module, tests] of this.modules) {
      const file = this.files.get(module);
      const ended = file !== undefined && ENDED.includes(file.result?.state) && this.imported.has(module);
      for (const test of tests) this.settled(test, ended ? file : undefined, module, broken, lost);
    }
    this.amend(lost.length ? [] : errors);
    if (lost.length) await this.crashed(lost, errors);
    for (const words of this.unhandled) say(words);
  }

  settled(test, file, module, broken, lost) {
    if (test.finished) return;
    if (test.last && !ENDED.includes(test.task?.result?.state)) {
      return this.report(test, test.last[0], test.last[2], { message: test.last[1] });
    }
    if (!file) {
      if (test.began || this.imported.has(module)) return lost.push(test);
      if (++test.rounds < ROUNDS && !broken) return this.queue.push(test);
      return this.report(test, 'error', 0, failure([broken ?? { message: 'Vitest did not run its file' }]));
    }
    const { task } = test;
    if (test.began && !ENDED.includes(task?.result?.state)) return lost.push(test);
    const above = [...(task ? test.suites : [file])].reverse().find(({ result }) => result?.errors?.length);
    if (ENDED.includes(task?.result?.state) && task.result.state !== 'skip') return this.finish(test, task);
    if (above) return this.report(test, 'error', 0, failure(above.result.errors));
    if (!task) {
      const names = [...testsOf(file)].map(({ name }) => name);
      return this.report(test, 'error', 0, unknown(test, `${moduleId(file.projectName, file.filepath)} > `, names));
    }
    return this.finish(test, task);
  }

  crashed(lost, errors) {
    if (!lost.some((test) => test.began)) emit({ event: 'module', path: lost[0].file });
    const said = new Set([...errors.map(explained), ...this.unhandled]);
    return this.end(['a test process of Vitest ended before its tests did', ...said].join('\n'));
  }

  // Errors that belong to no test fail the last test that passed before them, or else one that was skipped.
  amend(errors) {
    const done = [...this.round.values()].filter((test) => test.passed).sort((a, b) => b.order - a.order);
    const blame = (test, what) => {
      if (!test) return say(failure(what).details);
      test.passed = false;
      emit({ event: 'teardown', key: test.key, ...failure(what) });
    };
    for (const suite of new Set(done.flatMap((test) => test.suites))) {
      const near = done.filter((test) => test.suites.includes(suite));
      if (suite.result?.errors?.length) blame(near.find((test) => test.passed), suite.result.errors);
    }
    if (this.vitest.config.dangerouslyIgnoreUnhandledErrors) return;
    for (const error of errors) {
      const [file, name] = [error.VITEST_TEST_PATH, error.VITEST_TEST_NAME];
      const near = done.filter((test) => test.passed && (!file || test.task.file.filepath === file));
      const any = done.find((test) => test.passed) ?? [...this.round.values()].find((test) => test.finished && !test.bad);
      blame(near.find((test) => test.id.endsWith(` > ${name}`)) ?? near[0] ?? any, [error]);
    }
  }
}

function unknown(test, module, names) {
  const words = new Set(test.id.slice(module.length).split(/\W+/));
  const likeness = (name) => name.split(/\W+/).filter((word) => words.has(word)).length;
  const nearest = names.sort((a, b) => likeness(b) - likeness(a)).slice(0, 3);
  return {
    message: 'there is no such test in the sandbox: its name must not depend on where or when it is made',
    details: ['The nearest there:', ...nearest.map((name) => `  ${module}${name}`)].join('\n'),
  };
}
