package main

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestContents packs nothing: compression takes a minute under the race detector. fixedzip has tests of its own, and those over the real
// function run what was packed.
func TestContents(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	root, err := os.Getwd()
	require.NoError(t, err)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	machineCode := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(machineCode, "wazero-v1"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(machineCode, "wazero-v1", "code"), []byte("machine code"), 0o600))
	entries, err := contents("v1.2.3", machineCode)
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(temporary, "functionzip*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoDirExists(t, "vendor")

	files := map[string]string{}
	for _, e := range entries {
		require.Equal(t, fs.FileMode(0o644), e.Mode, e.Name)
		files[e.Name] = string(e.Content)
	}
	require.Contains(t, files["version.go"], `const version = "v1.2.3"`)
	for name, content := range files {
		require.False(t, strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/"), name)
		require.False(t, strings.Contains(content, root) || strings.Contains(content, temporary), "%s: reproducible from any folder", name)
		switch path.Dir(name) {
		case ".":
			require.Contains(t, []string{"go.mod", "go.sum", "LICENSE", "function.go", "version.go"}, name)
		default:
			require.Regexp(t, "^(internal|vendor|pysyntax)/", name)
		}
	}
	require.Contains(t, files, "internal/service/service.go")
	require.Contains(t, files, "internal/bucket/dirbucket/system_other.go", "it builds on other systems too")
	require.Equal(t, "machine code", files["pysyntax/wazero-v1/code"])
	require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(name string) bool {
		return strings.HasPrefix(name, "internal/pysyntax/ruff/")
	}), "what is embedded is source too")
	require.Contains(t, files, "vendor/github.com/tetratelabs/wazero/LICENSE")
	require.Contains(t, files, "vendor/github.com/GoogleCloudPlatform/functions-framework-go/funcframework/framework.go")
	require.Contains(t, files, "vendor/github.com/GoogleCloudPlatform/functions-framework-go/LICENSE")
	for _, stranger := range []string{"aws-sdk-go", "testify", "fake-gcs-server", "alecthomas/kong"} {
		require.NotContains(t, files["go.mod"]+files["vendor/modules.txt"], stranger)
		require.NotRegexp(t, stranger+`\S* v[^/ ]+ h1:`, files["go.sum"], "only for what it says of versions")
	}
	require.NotContains(t, files, "internal/awswire/awswire.go")
}

func TestPackNeedsTheMachineCode(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	out := filepath.Join(t.TempDir(), "function.zip")
	require.ErrorContains(t, pack(out, "v1", filepath.Join(t.TempDir(), "missing")), "missing")
	require.NoFileExists(t, out)
}

func TestPackNeedsTheFileThatItReplaces(t *testing.T) {
	require.ErrorContains(t, finish(t.TempDir(), goPackage{GoFiles: []string{"function.go"}}, "v1"), versionFile)
}

func TestModulesWithPackages(t *testing.T) {
	require.Equal(t, map[string]bool{"example.com/a": true, "example.com/c": true}, modulesWithPackages(`# example.com/a v1.0.0
## explicit; go 1.24
example.com/a
example.com/a/b
# example.com/b v1.2.0
## explicit
# example.com/c v0.1.0
## explicit; go 1.25.0
example.com/c/d
`))
}
