import { it } from 'vitest';

it('leaves an error behind', async () => {
  Promise.reject(new Error('nobody caught this'));
});
