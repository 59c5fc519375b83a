// Package azurite runs the Astro client's upload against Azurite, the real Azure Blob emulator. Its tests need node and
// an installed Azurite, so they have the build tag azurite: `make test-azurite` runs them.
package azurite
