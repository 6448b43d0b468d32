// Offload's reporter for Vitest: it lists tests, or stays in `onInit` and runs what it is asked to in one warm process.
//
// The environment variable OFFLOAD_VITEST holds its settings. Requests come as JSON objects, one a line, on standard
// input: {"run": [[key, id, number, path], ...]}, {"revoke": [key, ...], "n": n}, {"close": true}. Events leave on
// standard output, one JSON object a line behind a marker. What a test process knows first, which module it imports
// and which test begins, it writes by itself, at once, into a file that is read here, and by the host after a crash.
import { Discovery } from './discovery.mjs';
import { Session } from './session.mjs';
import { settings } from './wording.mjs';

// Vitest calls these; before version 3 by the second set of names, and with its own tasks.
export default class OffloadReporter {
  async onInit(vitest) {
    const major = Number.parseInt(vitest.version, 10);
    if (!(major >= 2)) throw new Error('Offload needs Vitest 2.0 or newer'); // version 1 does not tell its version
    this.old = major < 3;
    this.state = vitest.state;
    this.work = settings.mode === 'discover' ? new Discovery(vitest) : new Session(vitest);
    if (this.work instanceof Session) await this.work.run();
  }

  onTestModuleCollected(module) {
    this.work.collected(module.task);
  }

  onTestCaseResult(test) {
    this.work.updated?.(test.task);
  }

  onTestRunEnd() {
    this.work.ended?.();
  }

  onCollected(files) {
    if (this.old) for (const file of files ?? []) this.work.collected(file);
  }

  onTaskUpdate(packs) {
    if (!this.old) return;
    for (const [id] of packs) {
      const task = this.state.idMap.get(id);
      if (task) this.work.updated?.(task);
    }
  }

  onFinished() {
    if (this.old) this.work.ended?.();
  }

  onUserConsoleLog(log) {
    if (this.work.logged) this.work.logged(log);
    else process.stderr.write(log.content);
  }
}
