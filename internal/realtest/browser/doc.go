// Package browser opens the status page in a real headless Chromium. Its tests need Chromium, so they have the build tag browser:
// `make test-browser` runs them. SCREENSHOTS=<folder> makes them leave pictures of the page there.
package browser
