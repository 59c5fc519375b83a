package realtest_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
)

const (
	validSource  = "import os\n"
	brokenSource = "def f(:\n    pass\n"
	interpreted  = "checked by interpretation" // what the log says then
)

// TestLambdaPackageBringsMachineCode runs what `make package` packed, from a folder as Lambda has it.
func TestLambdaPackageBringsMachineCode(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			folder := unpackedPackage(t, arch)
			binary := runnable(t, folder, arch)
			before := filesIn(t, folder)
			f := startFunction(t, binary, astrotest.Options{}, "LAMBDA_TASK_ROOT="+folder)
			requireChecks(t, f.put, f.run, f.live)
			require.NotContains(t, string(f.Logs()), interpreted)
			require.Equal(t, before, filesIn(t, folder), "nobody can write there on Lambda")
		})
	}
}

func TestLambdaWithoutMachineCode(t *testing.T) {
	folder := unpackedPackage(t, runtime.GOARCH)
	require.NoError(t, os.RemoveAll(filepath.Join(folder, "pysyntax")))
	f := startFunction(t, filepath.Join(folder, "bootstrap"), astrotest.Options{})
	requireChecks(t, f.put, f.run, f.live)
	require.Equal(t, 1, bytes.Count(f.Logs(), []byte(interpreted)), "%s", f.Logs())
	require.Contains(t, string(f.Logs()), filepath.Join(folder, "pysyntax"))
}

func TestCloudFunctionPackageBringsMachineCode(t *testing.T) {
	f := newCloudFunction(t, cloudOptions{})
	requireChecks(t, f.put, f.run, f.live)
	require.NotContains(t, string(f.Logs()), interpreted)
}

func TestCloudFunctionWithoutMachineCode(t *testing.T) {
	f := newCloudFunction(t, cloudOptions{folder: t.TempDir()})
	requireChecks(t, f.put, f.run, f.live)
	require.Equal(t, 1, bytes.Count(f.Logs(), []byte(interpreted)), "%s", f.Logs())
	f.requireLogged("WARNING", interpreted, "serverless_function_source_code/pysyntax")
}

func (f *cloudFunction) run() deployer.Result {
	f.t.Helper()
	return f.requireOutcome(deployer.Deployed, f.post(object{}))
}

// requireChecks has a function deploy a changed file and refuse a broken one, twice.
func requireChecks(t *testing.T, put func(key, content string), run func() deployer.Result, live func() map[string]string) {
	t.Helper()
	for round := range 2 {
		content := fmt.Sprintf("%sround = %d\n", validSource, round)
		put("dags/good.py", content)
		put("dags/broken.py", brokenSource)
		result := run()
		require.Equal(t, deployer.Deployed, result.Outcome)
		require.Equal(t, map[string]string{"dags/good.py": content}, live())
		require.Len(t, result.LeftOut, 1)
		require.Equal(t, "syntax", result.LeftOut[0].Reason)
	}
}

// unpackedPackage is a Lambda package in a folder that nobody may write to.
func unpackedPackage(t *testing.T, arch string) string {
	t.Helper()
	root, err := realtest.ProjectRoot()
	require.NoError(t, err)
	path := filepath.Join(root, "build", "lambda-"+arch+".zip")
	require.FileExists(t, path, "run these tests with make test-real: it builds the packages")
	archive, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer archive.Close()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, archive))
	for _, f := range archive.File {
		require.NoError(t, os.Chmod(filepath.Join(folder, f.Name), f.Mode()&0o555))
		require.NotZero(t, f.Mode()&0o004, "%s: Lambda's user must be able to read it", f.Name)
		parent := filepath.Join(folder, filepath.Dir(f.Name))
		require.NoError(t, os.Chmod(parent, 0o555))
		t.Cleanup(func() { _ = os.Chmod(parent, 0o755) }) // or it could not be removed
	}
	return folder
}

// runnable is the package's program, or for another kind of processor one that has qemu run it.
func runnable(t *testing.T, folder, arch string) string {
	t.Helper()
	binary := filepath.Join(folder, "bootstrap")
	if arch == runtime.GOARCH {
		return binary
	}
	qemu, err := exec.LookPath(map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[arch])
	if err != nil {
		if os.Getenv("TEST_ALL") != "" {
			t.Fatalf("no qemu for %s: %v", arch, err)
		}
		t.Skipf("no qemu for %s here: %v", arch, err)
	}
	script := filepath.Join(t.TempDir(), "bootstrap")
	require.NoError(t, os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nexec %s %s\n", qemu, binary), 0o755))
	return script
}

// filesIn tells whether a folder was changed.
func filesIn(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		found = append(found, fmt.Sprint(path, " ", info.Mode(), " ", info.Size(), " ", info.ModTime()))
		return err
	}))
	return found
}
