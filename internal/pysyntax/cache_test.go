package pysyntax

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
)

// copyCache copies the machine code into a folder of its own, and returns it and the folder of this build in it.
func copyCache(t *testing.T) (folder, place string) {
	t.Helper()
	sharedChecker(t)
	folder = t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(folder), 0o755)) // other users reach it
	require.NoError(t, os.CopyFS(cacheFolder(folder), os.DirFS(cacheFolder(testCache))))
	return folder, cacheFolder(folder)
}

// cachedFiles returns wazero's folder and the two files in it, the large one first.
func cachedFiles(t *testing.T, place string) (dir, ruff, table string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(place, "wazero-*", "*"))
	require.NoError(t, err)
	require.Len(t, found, 2)
	info, err := os.Stat(found[0])
	require.NoError(t, err)
	if info.Size() < 1<<20 {
		found[0], found[1] = found[1], found[0]
	}
	return filepath.Dir(found[0]), found[0], found[1]
}

// damage inverts a byte.
func damage(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	if at < 0 {
		info, err := f.Stat()
		require.NoError(t, err)
		at += info.Size()
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{^b[0]}, at)
	require.NoError(t, err)
}

// listing lists a folder with sizes and times.
func listing(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := path + " " + info.Mode().String()
		if !d.IsDir() {
			line += " " + info.ModTime().String()
		}
		found = append(found, line)
		return nil
	})
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	return found
}

// useless are cache folders that do not serve, by what is done to one that does.
var useless = map[string]struct {
	spoil func(t *testing.T, folder, place string) // nil: there is no folder
	why   string
}{
	"no cache": {nil, "there is no machine code"},
	"no folder": {func(t *testing.T, folder, _ string) {
		require.NoError(t, os.RemoveAll(folder))
	}, "there is no machine code for this build"},
	"an empty folder": {func(t *testing.T, _, place string) {
		require.NoError(t, os.RemoveAll(place))
	}, "there is no machine code for this build"},
	"a file": {func(t *testing.T, folder, _ string) {
		require.NoError(t, os.RemoveAll(folder))
		require.NoError(t, os.WriteFile(folder, nil, 0o600))
	}, "not a directory"},
	"what a crash left": {func(t *testing.T, folder, place string) {
		require.NoError(t, os.Rename(place, filepath.Join(folder, "making-1")))
	}, "there is no machine code for this build"},
	"another release of ruff": {func(t *testing.T, folder, place string) {
		require.NoError(t, os.Rename(place, filepath.Join(folder, strings.Replace(filepath.Base(place), "ruff-", "ruff-0", 1))))
	}, "there is no machine code for this build"},
	"another wazero": {func(t *testing.T, folder, place string) {
		require.NoError(t, os.Rename(place, place+".1"))
	}, "there is no machine code for this build"},
	"another wazero that has the same version": {func(t *testing.T, _, place string) {
		dir, _, _ := cachedFiles(t, place)
		require.NoError(t, os.Rename(dir, filepath.Join(place, "wazero-v0-amd64-linux")))
		require.NoError(t, writeSums(place))
	}, errNoCache.Error()},
	"another kind of processor": {func(t *testing.T, _, place string) {
		dir, ruff, table := cachedFiles(t, place)
		require.NoError(t, os.Rename(ruff, filepath.Join(dir, strings.Repeat("0", 64))))
		require.NoError(t, os.Rename(table, filepath.Join(dir, strings.Repeat("1", 64))))
		require.NoError(t, writeSums(place))
	}, errNoCache.Error()},
	"files that are not listed": {func(t *testing.T, _, place string) {
		dir, _, _ := cachedFiles(t, place)
		require.NoError(t, os.WriteFile(filepath.Join(dir, strings.Repeat("0", 64)), []byte("WAZEVO"), 0o600))
	}, "damaged"},
	"no sums": {func(t *testing.T, _, place string) {
		require.NoError(t, os.Remove(filepath.Join(place, sumsFile)))
	}, "there is no machine code for this build"},
	"empty sums": {func(t *testing.T, _, place string) {
		require.NoError(t, os.Truncate(filepath.Join(place, sumsFile), 0))
	}, "damaged"},
	"the large file is missing": {func(t *testing.T, _, place string) {
		_, ruff, _ := cachedFiles(t, place)
		require.NoError(t, os.Remove(ruff))
	}, "damaged"},
	"the small file is missing": {func(t *testing.T, _, place string) {
		_, _, table := cachedFiles(t, place)
		require.NoError(t, os.Remove(table))
	}, "damaged"},
	"cut": {func(t *testing.T, _, place string) {
		_, ruff, _ := cachedFiles(t, place)
		require.NoError(t, os.Truncate(ruff, 30<<20))
	}, "damaged"},
	"damaged in wazero's header":      {damagedAt(3), "damaged"},
	"damaged in the functions' table": {damagedAt(30_000), "damaged"},
	"damaged in the machine code":     {damagedAt(20 << 20), "checksum mismatch"},
	"damaged at the end":              {damagedAt(-1), "damaged"},
	"code that traps": {func(t *testing.T, _, place string) { // what wazero would leave there for the hollow module
		_, ruff, _ := cachedFiles(t, place)
		hollow, err := hollowModule()
		require.NoError(t, err)
		require.NoError(t, os.Remove(ruff))
		made, err := compileInto(t.Context(), place, hollow)
		require.NoError(t, err)
		require.Equal(t, ruff, made)
		require.NoError(t, writeSums(place))
	}, "unreachable"},
}

func damagedAt(at int64) func(*testing.T, string, string) {
	return func(t *testing.T, _, place string) {
		_, ruff, _ := cachedFiles(t, place)
		damage(t, ruff, at)
	}
}

// requireInterpreted loads a checker, which must say once that it found no machine code, and why; and it must not have made any.
func requireInterpreted(t *testing.T, folder, why string) {
	t.Helper()
	before := listing(t, folder)
	c, log := newChecker(Options{Cache: folder, Workers: 1})
	require.NotEmpty(t, check(t, c, "x = = 1\n", ""))
	require.Empty(t, check(t, c, "x = 1\n", ""))
	require.True(t, c.interpreted)
	require.Equal(t, before, listing(t, folder))
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
	require.Contains(t, log.String(), "Python files are checked by interpretation")
	require.Contains(t, log.String(), why)
}

func TestUselessCaches(t *testing.T) {
	t.Parallel()
	for name, tc := range useless {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := ""
			if tc.spoil != nil {
				var place string
				folder, place = copyCache(t)
				tc.spoil(t, folder, place)
			}
			requireInterpreted(t, folder, tc.why)
		})
	}
}

// requireCompiled loads a checker, which must find machine code and leave it as it is.
func requireCompiled(t *testing.T, folder string) {
	t.Helper()
	before := listing(t, folder)
	c, log := newChecker(Options{Cache: folder, Workers: 1})
	require.NotEmpty(t, check(t, c, "x = = 1\n", ""), log)
	require.False(t, c.interpreted)
	require.Empty(t, log.String())
	require.Equal(t, before, listing(t, folder))
	c.Close()
}

func TestUsefulCaches(t *testing.T) {
	t.Parallel()
	folder, place := copyCache(t)
	requireCompiled(t, folder)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "LICENSE"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "making-1"), 0o700))
	requireCompiled(t, folder)
	require.NoError(t, filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o044), info.Mode()&0o044, "anybody may read %s", path)
		return nil
	}))
}

func TestCompileSaysWhatFailed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err := Compile(t.Context(), file)
	require.ErrorContains(t, err, "compiling the syntax checker into "+file)

	c, log := newChecker(Options{Cache: file, Make: true})
	require.NotEmpty(t, check(t, c, "x = = 1\n", ""))
	require.True(t, c.interpreted)
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
}

// TestNothingRuns is about a checker whose module is broken.
func TestNothingRuns(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, interpreter := range map[string]func(context.Context) (*engine, error){
		"no module": func(context.Context) (*engine, error) { return nil, broken },
		"a module that traps": func(ctx context.Context) (*engine, error) {
			hollow, err := hollowModule()
			require.NoError(t, err)
			return newEngine(ctx, wazero.NewRuntimeConfigInterpreter(), hollow)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, log := newChecker(Options{})
			c.newInterpreter = interpreter
			for range 2 {
				_, err := c.Check(t.Context(), []byte("x = 1\n"), "")
				require.True(t, IsUnchecked(err), err)
				require.ErrorContains(t, err, "not checked: the checker cannot run: ")
				require.Equal(t, err, c.Load())
			}
			require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
			c.Close()

			found, err := c.Check(t.Context(), []byte("\x00"), "")
			require.NoError(t, err, "what needs no parser has a verdict")
			require.Len(t, found, 1)
		})
	}
}
