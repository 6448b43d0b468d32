import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Offload replaces the reporters, and leaves the rest as it is.
    reporters: ['verbose'],
  },
});
