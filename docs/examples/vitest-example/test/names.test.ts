import { describe, expect, it } from 'vitest';

// Names can be anything. These were all trouble for some tool once.
describe('odd "names"', () => {
  it('has spaces  and \'quotes\' and `ticks`', () => {});
  it('has (brackets) [of] {every} <kind> and $HOME and \\ and | and * and ^.?+', () => {});
  it('is written in Ελληνικά, 日本語 and 🙂', () => {});
  it('goes over\ntwo lines and has a\ttab', () => {});
  it('', () => {});
  it('a > b', () => {});
  it('is called like another one', () => {});
  it('is called like another one', () => {
    expect('the second one').toBe('the first one');
  });
});

describe('a', () => {
  it('b c', () => {});
});

describe('a b', () => {
  it('c', () => {});
});

// money.test.ts has a test with this name, too, which fails.
it('is written with two digits', () => {});
