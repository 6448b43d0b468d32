import { it } from 'vitest';
import { nothing } from '../src/does-not-exist';

it('is never collected', () => {
  nothing();
});
