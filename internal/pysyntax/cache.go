package pysyntax

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tetratelabs/wazero"
)

// errNoCache says that a folder has no machine code for this processor and this build.
var errNoCache = errors.New("it was made for another build or another kind of processor")

// Compile makes the machine code for the processor that this runs on, in a folder that Options.Cache may name later; it may be there
// already. It takes some 10 s and 500 MB.
func Compile(ctx context.Context, folder string) error {
	e, err := openEngine(ctx, folder)
	if err != nil {
		return err
	}
	e.close(ctx)
	return nil
}

// openEngine makes an engine by way of a cache folder.
func openEngine(ctx context.Context, folder string) (*engine, error) {
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return nil, fmt.Errorf("the cache of machine code: %w", err)
	}
	e, err := newEngine(ctx, wazero.NewRuntimeConfigCompiler().WithCompilationCache(cache))
	if err != nil {
		return nil, fmt.Errorf("the machine code in %s: %w", folder, err)
	}
	e.cache = cache
	return e, nil
}

// checkCache reports whether folder has the machine code. wazero has no call for it and would compile, for 10 s and with 500 MB. But the
// small table module is found there under the same conditions as the large one, and compiling it costs nothing.
func checkCache(ctx context.Context, folder string) error {
	before, err := cacheFiles(folder)
	if err != nil {
		return err
	}
	const modules = 2
	if len(before) < modules {
		return fmt.Errorf("no machine code in %s", folder)
	}
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return err
	}
	defer cache.Close(ctx)
	r := wazero.NewRuntimeWithConfig(ctx, engineConfig(wazero.NewRuntimeConfigCompiler().WithCompilationCache(cache)))
	defer r.Close(ctx)
	if _, err := r.CompileModule(ctx, table); err != nil {
		return errNoCache // it was not found, and could not be written
	}
	after, err := cacheFiles(folder)
	if err != nil {
		return err
	}
	for _, f := range after {
		if !slices.Contains(before, f) {
			_ = os.Remove(f) // or it would be found the next time
			return errNoCache
		}
	}
	return nil
}

// cacheFiles lists the files in a cache folder, which has one folder for each build of wazero.
func cacheFiles(folder string) ([]string, error) {
	if _, err := os.Stat(folder); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(folder, "*", "*"))
}
