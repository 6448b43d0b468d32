import { existsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

/** Whether this is the first call with a name in this run. Offload's name of the run keeps runs apart. */
function first(name: string): boolean {
  const file = join(process.env.EXAMPLE_STATE ?? tmpdir(), `${process.env.OFFLOAD_RUN_ID ?? process.pid}-${name}`);
  if (existsSync(file)) return false;
  writeFileSync(file, '');
  return true;
}

it('fails once', () => {
  expect(first('once')).toBe(false);
});

it("passes on Vitest's own retry", { retry: 1 }, () => {
  expect(first('retry')).toBe(false);
});
