//go:build !race

package pysyntax

const raceDetector = false
