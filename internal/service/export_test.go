package service

// RunsAtOnce is for tests.
const RunsAtOnce = runsAtOnce
