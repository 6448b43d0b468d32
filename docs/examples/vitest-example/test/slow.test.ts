import { expect, it } from 'vitest';

it('takes a while', async () => {
  await new Promise((resolve) => setTimeout(resolve, 500));
});

it('gives up by itself', { timeout: 50 }, async () => {
  await new Promise((resolve) => setTimeout(resolve, 60_000));
});

it.runIf(process.env.EXAMPLE_HANG)('hangs', () => {
  for (;;) expect(true).toBe(true);
});
