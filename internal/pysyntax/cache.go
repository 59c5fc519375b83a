package pysyntax

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// A cache folder has one folder for each release of ruff and of wazero that it was made for, complete or not there. In it lie wazero's cache, which
// keeps the machine code of a module under a name made of the module's bytes and the processor's kind; and the sums of those files.
//
// wazero has no call to ask whether there is machine code: what it does not find it compiles, which for ruff takes 10 s and 1 GB. So the
// machine code of ruff is kept under the name of the hollow module. That one is fast to decode, and if its name is not found, nothing is lost by
// compiling it: there is one file more than before, which is how a miss is known.

// errNoCache says that a folder's machine code is none for this processor.
var errNoCache = errors.New("it was made for another kind of processor")

// sumsFile lists the other files, one a line.
const sumsFile = "sums"

// cacheFolder is the folder for this build in the folder that Options.Cache names.
func cacheFolder(folder string) string {
	return filepath.Join(folder, "ruff-"+StoredSHA256[:16]+"-wazero-"+wazeroVersion())
}

// wazeroVersion is what wazero takes itself for: machine code of one version is none for another.
func wazeroVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/tetratelabs/wazero" && dep.Version != "" {
				return dep.Version
			}
		}
	}
	return "dev" // in tests
}

// Compile makes the machine code for the processor that this runs on, in a folder that Options.Cache may name later; it may be there
// already. It takes some 10 s and 1 GB.
func Compile(ctx context.Context, folder string) error {
	if e, err := openEngine(ctx, folder); err == nil {
		e.close(ctx)
		return nil
	}
	if err := makeCache(ctx, folder); err != nil {
		return fmt.Errorf("compiling the syntax checker into %s: %w", folder, err)
	}
	return nil
}

// makeCache builds the folder aside and puts it into its place: a crash before that leaves a folder that nobody reads.
func makeCache(ctx context.Context, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(folder, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "made")
	if err := compileHollow(ctx, made, filepath.Join(work, "whole")); err != nil {
		return err
	}
	if err := writeSums(made); err != nil {
		return err
	}
	if e, err := openEngine(ctx, folder); err == nil { // another process was faster
		e.close(ctx)
		return nil
	}
	place := cacheFolder(folder)
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	return os.Rename(made, place)
}

// compileHollow makes what belongs into folder, with the folder aside for work.
func compileHollow(ctx context.Context, folder, aside string) error {
	whole, err := wholeModule()
	if err != nil {
		return err
	}
	hollow, err := hollowModule()
	if err != nil {
		return err
	}
	from, err := compileInto(ctx, aside, whole)
	if err != nil {
		return err
	}
	to, err := compileInto(ctx, folder, hollow)
	if err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	_, err = compileInto(ctx, folder, table)
	return err
}

// compileInto compiles a module into a cache of wazero, and returns the file that it made.
func compileInto(ctx context.Context, folder string, wasm []byte) (string, error) {
	before, err := listCache(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return "", err
	}
	defer cache.Close(ctx)
	r := wazero.NewRuntimeWithConfig(ctx, engineConfig(wazero.NewRuntimeConfigCompiler().WithCompilationCache(cache)))
	defer r.Close(ctx)
	// Two workers make the same bytes in half of the time; more would take more memory.
	if _, err := r.CompileModule(experimental.WithCompilationWorkers(ctx, 2), wasm); err != nil {
		return "", err
	}
	after, err := listCache(folder)
	if err != nil {
		return "", err
	}
	added := slices.DeleteFunc(after, func(f string) bool { return slices.Contains(before, f) || strings.HasSuffix(f, "/") })
	if len(added) != 1 {
		return "", fmt.Errorf("wazero made %d files, not one", len(added))
	}
	return filepath.Join(folder, added[0]), nil
}

// openEngine makes an engine with the machine code of a cache folder. It leaves the folder as it is.
func openEngine(ctx context.Context, folder string) (*engine, error) {
	e, err := openIn(ctx, cacheFolder(folder))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no machine code for this build in %s: %w", folder, err)
	case err != nil:
		return nil, fmt.Errorf("the machine code in %s: %w", folder, err)
	}
	return e, nil
}

func openIn(ctx context.Context, place string) (e *engine, err error) {
	listed, err := checkSums(place)
	if err != nil {
		return nil, err
	}
	hollow, err := hollowModule()
	if err != nil {
		return nil, err
	}
	defer func() {
		if missed := removeOthers(place, listed); missed && err == nil { // or it would be found the next time
			e.close(ctx)
			e, err = nil, errNoCache
		}
	}()
	cache, err := wazero.NewCompilationCacheWithDir(place)
	if err != nil {
		return nil, err
	}
	e, err = newEngine(ctx, wazero.NewRuntimeConfigCompiler().WithCompilationCache(cache), hollow)
	if err != nil {
		_ = cache.Close(ctx)
		return nil, err
	}
	e.cache = cache
	return e, nil
}

// listCache lists what a folder holds, by paths with slashes, folders with one at the end and before what they hold.
func listCache(folder string) ([]string, error) {
	var found []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if d.IsDir() {
			path += "/"
		}
		found = append(found, path)
		return nil
	})
	return found, err
}

// removeOthers removes what is not listed, and reports whether there was any.
func removeOthers(folder string, listed []string) bool {
	now, err := listCache(folder)
	if err != nil {
		return true
	}
	others := slices.DeleteFunc(now, func(f string) bool { return slices.Contains(listed, f) })
	for _, f := range slices.Backward(others) {
		_ = os.Remove(filepath.Join(folder, f))
	}
	return len(others) > 0
}

// writeSums writes the sums of a folder's files. Another user may run what this one made: all may read it.
func writeSums(folder string) error {
	sums, _, err := sumUp(folder)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, sumsFile), []byte(sums), 0o644); err != nil {
		return err
	}
	return fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() {
			mode = 0o755
		}
		return os.Chmod(filepath.Join(folder, path), mode)
	})
}

// checkSums fails unless a folder holds exactly the files that writeSums saw. It returns what it holds, as listCache does.
func checkSums(folder string) (listed []string, err error) {
	want, err := os.ReadFile(filepath.Join(folder, sumsFile))
	if err != nil {
		return nil, err
	}
	sums, listed, err := sumUp(folder)
	if err != nil {
		return nil, err
	}
	if sums != string(want) {
		return nil, errors.New("it is damaged: remove it, and make it again")
	}
	return listed, nil
}

// sumUp returns the content of sumsFile.
func sumUp(folder string) (sums string, listed []string, err error) {
	if listed, err = listCache(folder); err != nil {
		return "", nil, err
	}
	var b strings.Builder
	for _, f := range listed {
		if f == sumsFile || strings.HasSuffix(f, "/") {
			continue
		}
		sum, err := sumOf(filepath.Join(folder, f))
		if err != nil {
			return "", nil, err
		}
		fmt.Fprintf(&b, "%s %s\n", sum, f)
	}
	return b.String(), listed, nil
}

// sumOf is of a file's size, its first and its last MiB. wazero checks what is between, machine code, but not the table of functions before it,
// with a wrong one of which the process would crash.
func sumOf(name string) (string, error) {
	const end = 1 << 20
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, from := range []int64{0, max(0, info.Size()-end)} {
		if _, err := io.Copy(h, io.NewSectionReader(f, from, end)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%08x %d", h.Sum32(), info.Size()), nil
}
