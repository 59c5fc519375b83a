//go:build race

package simulation

const defaultSchedules = 200 // a tenth as fast
