package buildpack_test

import (
	"archive/zip"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/realtest/buildpack"
)

const (
	framework = "vendor/github.com/GoogleCloudPlatform/functions-framework-go"
	modules   = `# github.com/GoogleCloudPlatform/functions-framework-go v1.9.2
## explicit
github.com/GoogleCloudPlatform/functions-framework-go/funcframework
# github.com/cloudevents/sdk-go/v2 v2.15.2
## explicit
github.com/cloudevents/sdk-go/v2
`
	requirements = `
go 1.26.0

require (
	github.com/GoogleCloudPlatform/functions-framework-go v1.9.2
	github.com/cloudevents/sdk-go/v2 v2.15.2
)
`
)

// small is a function with just as much of the framework as its build needs.
var small = map[string]string{
	"go.mod":             "module example.com/function\n" + requirements,
	"function.go":        "package function\n\nimport \"net/http\"\n\nfunc Hello(http.ResponseWriter, *http.Request) {}\n",
	"vendor/modules.txt": modules,
	framework + "/funcframework/framework.go": `package funcframework

import (
	"context"
	"net/http"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

func RegisterHTTPFunctionContext(context.Context, string, func(http.ResponseWriter, *http.Request)) error { return nil }

func RegisterCloudEventFunctionContext(context.Context, string, func(context.Context, cloudevents.Event) error) error { return nil }

func RegisterEventFunctionContext(context.Context, string, interface{}) error { return nil }

func StartHostPort(host, port string) error { return nil }
`,
	"vendor/github.com/cloudevents/sdk-go/v2/alias.go": "package v2\n\ntype Event struct{}\n",
}

func pack(t *testing.T, files map[string]string, readOnly string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "function.zip")
	file, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(file)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &zip.FileHeader{Name: name}
		header.SetMode(fs.FileMode(0o644))
		if name == readOnly {
			header.SetMode(fs.FileMode(0o444))
		}
		w, err := z.CreateHeader(header)
		require.NoError(t, err)
		_, err = w.Write([]byte(files[name]))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, file.Close())
	return path
}

func TestBuild(t *testing.T) {
	temporary, out := t.TempDir(), filepath.Join(t.TempDir(), "function")
	t.Setenv("TMPDIR", temporary)
	t.Setenv("GOFLAGS", "-mod=mod -tags=broken")
	require.NoError(t, buildpack.Build(pack(t, small, ""), "Hello", out))
	require.FileExists(t, out)
	require.FileExists(t, filepath.Join(buildpack.Workspace(out), "serverless_function_source_code", "function.go"))
	require.ErrorContains(t, buildpack.Build(pack(t, small, ""), "Other", out), "undefined: userfunction.Other")
	left, err := filepath.Glob(filepath.Join(temporary, "buildpack-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestBuildRefusesWhatGoogleRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		without  string // begins the names of files that are left out
		add      map[string]string
		readOnly string
		says     string
	}{
		"two packages":             {add: map[string]string{"other.go": "package other\n"}, says: "multiple packages in user code directory: function != other"},
		"an external test":         {add: map[string]string{"function_test.go": "package function_test\n"}, says: "function != function_test"},
		"a file that is not built": {add: map[string]string{"tool.go": "//go:build ignore\n\npackage main\n"}, says: "function != main"},
		"no package":               {without: "function.go", says: "unable to find Go package"},
		"module without a dot":     {add: map[string]string{"go.mod": "module dagbucket/function\n" + requirements}, says: "must contain a dot"},
		"read-only go.mod":         {readOnly: "go.mod", says: "go.mod exists but is not writable"},
		"no module":                {without: "go.mod", says: "go.mod: no such file"},
		"no vendor folder":         {without: "vendor/", says: "vendor: no such file"},
		"framework not vendored":   {without: framework, says: "vendored dependencies must include"},
		"framework not required": {add: map[string]string{"go.mod": "module example.com/function\n\ngo 1.26.0\n", "vendor/modules.txt": ""},
			says: "vendored dependencies must include"},
		"vendor folder of other requirements": {add: map[string]string{"vendor/modules.txt": strings.Replace(modules, "v1.9.2", "v1.9.1", 1)},
			says: "inconsistent vendoring"},
		"old framework": {add: map[string]string{"vendor/modules.txt": strings.Replace(modules, "v1.9.2", "v1.0.1", 1),
			"go.mod": "module example.com/function\n" + strings.Replace(requirements, "v1.9.2", "v1.0.1", 1)}, says: "not known here"},
		"self-registering": {add: map[string]string{"init.go": "package function\n\nimport _ \"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\n"},
			says: "not known here"},
		"dependency not vendored": {without: "vendor/github.com/cloudevents/", says: "github.com/cloudevents/sdk-go/v2"},
		"outside of the folder":   {add: map[string]string{"../outside.go": "package outside\n"}, says: "../outside.go"},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(small)
			maps.DeleteFunc(files, func(name, _ string) bool { return c.without != "" && strings.HasPrefix(name, c.without) })
			maps.Copy(files, c.add)
			out := filepath.Join(t.TempDir(), "function")
			require.ErrorContains(t, buildpack.Build(pack(t, files, c.readOnly), "Hello", out), c.says)
			require.NoFileExists(t, out)
		})
	}
}

// TestStagedSourceNeedsItsFramework takes the framework out of what `make package` packed.
func TestStagedSourceNeedsItsFramework(t *testing.T) {
	root, err := realtest.ProjectRoot()
	require.NoError(t, err)
	staged := filepath.Join(root, "build", "cloudfunction.zip")
	require.FileExists(t, staged, "run these tests with make test-real: it packs the function")
	from, err := zip.OpenReader(staged)
	require.NoError(t, err)
	defer from.Close()
	path := filepath.Join(t.TempDir(), "changed.zip")
	file, err := os.Create(path)
	require.NoError(t, err)
	to, left := zip.NewWriter(file), 0
	for _, f := range from.File {
		if strings.HasPrefix(f.Name, framework) {
			left++
			continue
		}
		require.NoError(t, to.Copy(f))
	}
	require.NoError(t, to.Close())
	require.NoError(t, file.Close())
	require.NotZero(t, left)
	require.ErrorContains(t, buildpack.Build(path, "Dagbucket", filepath.Join(t.TempDir(), "function")), "vendored dependencies must include")
}
