//go:build !race

package simulation

const defaultSchedules = 1000
