import { expect, it } from 'vitest';

it('has no snapshot yet', () => {
  expect({ units: 1 }).toMatchSnapshot();
});
