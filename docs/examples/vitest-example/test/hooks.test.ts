import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('with a broken beforeAll', () => {
  beforeAll(() => {
    throw new Error('no database');
  });

  it('cannot run', () => {});
});

describe('with a broken afterAll', () => {
  afterAll(() => {
    throw new Error('the database does not stop');
  });

  it('runs', () => {});
});

describe('whose hooks must not run for nothing', () => {
  beforeAll(() => {
    expect(process.env.EXAMPLE_ONLY).toBeUndefined();
  });

  it('has a hook', () => {});
});
