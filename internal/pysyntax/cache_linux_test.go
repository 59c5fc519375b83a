package pysyntax

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// asNobody calls f as a user for whom the modes of files count, which they do not for root.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // the user is one of the thread only
	set := func(user uintptr) { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, user, 0, 0) }
	set(nobody)
	defer func() {
		set(0)
		_, err := os.ReadDir("/root")
		require.NoError(t, err)
		runtime.UnlockOSThread()
	}()
	f()
}
