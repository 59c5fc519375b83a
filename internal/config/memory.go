package config

import (
	"os"
	"strconv"
	"strings"
)

// functionMemory is what a function's platform lets it use, in bytes; 0 if that is not known. Lambda tells it in MB, Cloud Run nothing but
// the limit of the control group, of which one execution environment shows the one file, and the other one the other.
func functionMemory(env func(string) string, groupFiles ...string) int64 {
	if megabytes, err := strconv.ParseInt(env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), 10, 32); err == nil && megabytes > 0 {
		return megabytes << 20
	}
	if env("K_SERVICE") == "" {
		return 0
	}
	return groupMemory(groupFiles...)
}

// The limit of the control group, in its second version and in its first.
const (
	groupFile    = "/sys/fs/cgroup/memory.max"
	oldGroupFile = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
)

// groupMemory reads the first of the files that holds a limit.
func groupMemory(files ...string) int64 {
	const noLimit = 1 << 40 // more than any function has; the older file tells the largest number that there is
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 && limit < noLimit {
			return limit
		}
	}
	return 0
}
