//go:build race

package pysyntax

const raceDetector = true
