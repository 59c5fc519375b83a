package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryOfAFunction(t *testing.T) {
	for told, want := range map[string]int64{"": 0, "512": 512 << 20, "10240": 10 << 30, "0": 0, "-1": 0, "much": 0} {
		env := func(name string) string { return map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": told}[name] }
		require.Equal(t, want, functionMemory(env), told)
	}
}

// TestMemoryOfAnotherProcess: a control group is of a function on Cloud Run alone.
func TestMemoryOfAnotherProcess(t *testing.T) {
	limit := limitFile(t, "536870912\n")
	require.Zero(t, functionMemory(func(string) string { return "" }, limit))
	onCloudRun := func(name string) string { return map[string]string{"K_SERVICE": "dagbucket"}[name] }
	require.EqualValues(t, 512<<20, functionMemory(onCloudRun, limit))
}

func limitFile(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "limit")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestMemoryOfAControlGroup(t *testing.T) {
	file := func(content string) string { return limitFile(t, content) }
	missing := filepath.Join(t.TempDir(), "missing")
	require.Zero(t, groupMemory(missing))
	require.Zero(t, groupMemory(file("max\n")))
	require.Zero(t, groupMemory(file("9223372036854771712\n")), "no limit, as the first version has it")
	require.EqualValues(t, 512<<20, groupMemory(file("536870912\n")))
	require.EqualValues(t, 1<<30, groupMemory(missing, file("1073741824\n")))
	require.EqualValues(t, 1<<30, groupMemory(file("max"), file("1073741824")))
}
