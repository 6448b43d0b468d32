// Lists tests: every file is imported, and none of its tests is run.
import { ENDED, emit, emptySuites, explained, failure, moduleId, nameOf, prepare, relative, say, testsOf } from './wording.mjs';

const NOTHING = /(?!)/;

export class Discovery {
  constructor(vitest) {
    this.vitest = vitest;
    this.told = new Set();
    this.patterns = new Map();
    for (const project of vitest.projects) this.patterns.set(nameOf(project), project.config.testNamePattern);
    prepare(vitest, (config) => {
      config.testNamePattern = NOTHING; // every test is listed and none is run, nor the hooks around it
      config.includeTaskLocation = true;
    });
  }

  collected(file) {
    const id = moduleId(file.projectName, file.filepath);
    if (this.told.has(id)) return;
    const shown = relative(file.filepath);
    const errors = file.result?.errors ?? [];
    if (!errors.length && !file.tasks.length && !this.vitest.config.passWithNoTests) {
      errors.push({ message: `No test suite found in file ${shown}` });
    }
    if (!this.vitest.config.passWithNoTests) {
      for (const suite of emptySuites(file)) errors.push({ message: `No test found in suite ${suite.name}` });
    }
    this.told.add(id);
    if (errors.length) emit({ event: 'failed', path: id, file: shown, ...failure(errors) });
    const pattern = this.patterns.get(file.projectName || '');
    const rows = [...testsOf(file)]
      .filter((test) => !pattern || test.plain.match(pattern))
      .map((test) => [`${id} > ${test.name}`, test.number, shown, id, test.task.location?.line ?? null]);
    if (rows.length) emit({ event: 'tests', tests: rows });
  }

  ended() {
    const errors = this.vitest.state.getUnhandledErrors();
    for (const error of errors) say(explained(error));
    const files = this.vitest.state.getFiles();
    for (const file of files) {
      if (ENDED.includes(file.result?.state) || file.tasks.length) this.collected(file);
    }
    for (const file of files) {
      const id = moduleId(file.projectName, file.filepath);
      if (!this.told.has(id)) {
        const ended = { message: 'its process ended while it was imported' };
        emit({ event: 'failed', path: id, file: relative(file.filepath), ...failure([ended, ...errors]) });
      }
    }
    emit({ event: 'bye', reason: '' });
  }
}
