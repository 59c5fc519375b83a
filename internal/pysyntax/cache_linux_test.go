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
	const root, nobody = 0, 65534
	set := func(user uintptr) (before uintptr) {
		before, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, user, 0, 0)
		return before
	}
	runtime.LockOSThread() // the user is one of this thread only
	defer func() {
		set(root)
		require.EqualValues(t, root, set(root))
		runtime.UnlockOSThread()
	}()
	if set(nobody); set(nobody) != nobody {
		t.Skip("there is no other user in this container")
	}
	f()
}
