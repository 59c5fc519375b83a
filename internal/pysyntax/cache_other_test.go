//go:build !linux

package pysyntax

import (
	"os"
	"testing"
)

// asNobody calls f unless this user is root, for whom the modes of files do not count.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("the modes of files do not count for root")
	}
	f()
}
