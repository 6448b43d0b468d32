// A file without tests is an error, for Vitest and for Offload.
