package pysyntax

import (
	"io/fs"
	"os"
	"runtime"
	"strings"
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
	set(nobody)
	require.EqualValues(t, nobody, set(nobody), "root of a container without other users cannot tell: run the tests as another user")
	f()
}

// TestCachesOfOthers is about folders that belong to another user.
func TestCachesOfOthers(t *testing.T) {
	t.Parallel()
	_, err := theInterpreter() // not as the other user
	require.NoError(t, err)
	forbid := func(t *testing.T, path string, mode fs.FileMode) {
		require.NoError(t, os.Chmod(path, mode))
		t.Cleanup(func() { require.NoError(t, os.Chmod(path, 0o755)) })
	}
	t.Run("read-only", func(t *testing.T) {
		folder, place := copyCache(t)
		dir, _, _ := cachedFiles(t, place)
		for _, path := range []string{dir, place, folder} {
			forbid(t, path, 0o555)
		}
		asNobody(t, func() { requireCompiled(t, folder) })
	})
	t.Run("read-only, of another build", func(t *testing.T) {
		folder, place := copyCache(t)
		useless["another kind of processor"].spoil(t, folder, place)
		dir, _, _ := cachedFiles(t, place)
		for _, path := range []string{dir, place, folder} {
			forbid(t, path, 0o555)
		}
		asNobody(t, func() { requireInterpreted(t, folder, "permission denied") })
	})
	t.Run("read-only, of another wazero", func(t *testing.T) {
		folder, place := copyCache(t)
		useless["another wazero that has the same version"].spoil(t, folder, place)
		forbid(t, place, 0o555)
		asNobody(t, func() { requireInterpreted(t, folder, "permission denied") })
	})
	t.Run("read-only and empty", func(t *testing.T) {
		folder, place := copyCache(t)
		require.NoError(t, os.RemoveAll(place))
		forbid(t, folder, 0o555)
		asNobody(t, func() {
			requireInterpreted(t, folder, "there is no machine code for this build")
			c, log := newChecker(Options{Cache: folder, Make: true})
			require.NotEmpty(t, check(t, c, "x = = 1\n", ""))
			require.True(t, c.interpreted)
			require.Contains(t, log.String(), "permission denied")
		})
	})
	t.Run("a folder that may not be read", func(t *testing.T) {
		folder, place := copyCache(t)
		forbid(t, place, 0o700)
		asNobody(t, func() { requireInterpretedUnseen(t, folder) })
	})
	t.Run("a file that may not be read", func(t *testing.T) {
		folder, place := copyCache(t)
		_, ruff, _ := cachedFiles(t, place)
		forbid(t, ruff, 0o200)
		asNobody(t, func() { requireInterpreted(t, folder, "permission denied") })
	})
}

// requireInterpretedUnseen is requireInterpreted for a folder that cannot be listed.
func requireInterpretedUnseen(t *testing.T, folder string) {
	t.Helper()
	c, log := newChecker(Options{Cache: folder})
	require.NotEmpty(t, check(t, c, "x = = 1\n", ""))
	require.True(t, c.interpreted)
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
	require.Contains(t, log.String(), "permission denied")
}
