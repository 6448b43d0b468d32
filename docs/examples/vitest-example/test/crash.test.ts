import { expect, it } from 'vitest';

it('comes before', () => {});

it('kills its process', () => {
  process.kill(process.pid, 'SIGKILL');
});

it('comes after', () => {});

it('ends its process', () => {
  process.exit(3);
});

it('comes last', () => {
  expect(1).toBe(1);
});
